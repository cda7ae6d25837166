// Package detect tells which values look like credentials: those of a provider
// by their shape, and others by the name that they have and how random they
// are. The rules are those of gitleaks; see rules.jsonl and LICENSE.gitleaks.
// Its library is not linked in: it compiles all rules at once, which takes
// 24 MiB that stay, and brings 62 modules. Here a rule is compiled when a text
// has one of its keywords, and forgotten with the next garbage collection.
package detect

import (
	"math"
	"slices"
	"strings"
)

// Text is a value and what it is called.
type Text struct{ Name, Value string }

// Finding is a text that looks like a credential. It holds no value.
type Finding struct {
	Text int    // its index
	Rule string // of gitleaks, or URLPassword
}

// URLPassword is a rule of our own: a password within a URL.
const URLPassword = "url-password"

// Scan looks at texts by all rules but those in off. A text is found once, by
// the rule that says most about it.
func Scan(texts []Text, off []string) []Finding {
	if len(texts) == 0 {
		return nil
	}
	all := join(texts)
	found := map[int]string{}
	set := load()
	for _, r := range set.rules {
		if slices.Contains(off, r.ID) || !r.mayMatch(all.lower) {
			continue
		}
		for i := range texts {
			if _, done := found[i]; !done && set.looks(r, all, i) {
				found[i] = r.ID
			}
		}
	}
	var findings []Finding
	for i := range texts {
		if rule, ok := found[i]; ok {
			findings = append(findings, Finding{i, rule})
		}
	}
	return findings
}

// joined are texts in one, so that most rules are ruled out by one look.
type joined struct {
	text, lower string
	ends        []int
}

// join writes each text as an assignment, which is what many rules look for.
// What has several lines has the assignments in itself.
func join(texts []Text) joined {
	var b strings.Builder
	j := joined{ends: make([]int, 0, len(texts))}
	for _, t := range texts {
		value := strings.TrimRight(t.Value, "\n")
		if t.Name != "" && !strings.Contains(value, "\n") {
			b.WriteString(t.Name)
			b.WriteByte('=')
		}
		b.WriteString(value)
		b.WriteByte('\n')
		j.ends = append(j.ends, b.Len())
	}
	j.text = b.String()
	j.lower = lower(j.text)
	return j
}

func (j joined) part(of string, i int) string {
	if i == 0 {
		return of[:j.ends[0]]
	}
	return of[j.ends[i-1]:j.ends[i]]
}

// lower keeps the length, unlike strings.ToLower. Keywords are ASCII.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// looks asks a rule about one of the texts.
func (s *ruleSet) looks(r *rule, all joined, i int) bool {
	text, low := all.part(all.text, i), all.part(all.lower, i)
	return r.mayMatch(low) && s.finds(r, text, low)
}

func (r *rule) mayMatch(lower string) bool {
	return len(r.Keywords) == 0 || slices.ContainsFunc(r.Keywords, func(k string) bool { return strings.Contains(lower, k) })
}

// finds reports whether a rule finds something in a text that nothing allows.
func (s *ruleSet) finds(r *rule, text, lower string) bool {
	if r.Named {
		return s.findsNamed(r, text, lower)
	}
	return slices.ContainsFunc(r.regex.get().FindAllStringSubmatchIndex(text, -1), func(m []int) bool {
		return s.is(r, text, text[m[0]:m[1]], m)
	})
}

// findsNamed tries a rule at its keywords.
func (s *ruleSet) findsNamed(r *rule, text, lower string) bool {
	re, end := r.regex.get(), 0
	for _, at := range r.positions(lower) {
		if at < end {
			continue // within what was matched
		}
		m := re.FindStringSubmatchIndex(text[at:min(at+longest, len(text))])
		for i := range m {
			if m[i] >= 0 {
				m[i] += at
			}
		}
		if m == nil {
			continue
		}
		if end = m[1]; s.is(r, text, text[nameStart(text, at):end], m) {
			return true
		}
	}
	return false
}

// longest bounds an assignment that a rule about names finds, in bytes.
const longest = 512

// positions are where a keyword begins, in order.
func (r *rule) positions(lower string) (all []int) {
	for _, k := range r.Keywords {
		for from := 0; ; {
			i := strings.Index(lower[from:], k)
			if i < 0 {
				break
			}
			all = append(all, from+i)
			from += i + 1
		}
	}
	slices.Sort(all)
	return all
}

// nameStart goes back from a keyword over the rest of the name that it is in.
func nameStart(text string, at int) int {
	from := at
	for from > 0 && at-from < 50 && isName(text[from-1]) {
		from--
	}
	return from
}

func isName(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '.' || c == '-'
}

// is decides about one match; m are its groups.
func (s *ruleSet) is(r *rule, text, match string, m []int) bool {
	secret := group(text, m, r.Group)
	for g := 1; secret == "" && r.Group == 0 && g < len(m)/2; g++ {
		secret = group(text, m, g)
	}
	if secret == "" {
		secret = match
	}
	if r.Entropy > 0 && entropy(secret) <= r.Entropy {
		return false
	}
	on := line(text, m[0])
	return !allows(s.always, secret, match, on) && !allows(r.Allow, secret, match, on)
}

// group is what a group matched; that of 0 is asked for by no rule.
func group(text string, m []int, g int) string {
	if g == 0 || 2*g+1 >= len(m) || m[2*g] < 0 {
		return ""
	}
	return text[m[2*g]:m[2*g+1]]
}

// line is the line of a text that a position is in.
func line(text string, at int) string {
	from := strings.LastIndexByte(text[:at], '\n') + 1
	rest, _, _ := strings.Cut(text[from:], "\n")
	return rest
}

// entropy is Shannon's, in bits a character.
func entropy(s string) float64 {
	counts, n := map[rune]int{}, 0
	for _, c := range s {
		counts[c]++
		n++
	}
	sum := 0.0
	for _, count := range counts {
		p := float64(count) / float64(n)
		sum -= p * math.Log2(p)
	}
	return sum
}
