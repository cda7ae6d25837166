package detect

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"weak"
)

// rulesFile is written by tools/gitleaks: one rule a line. The line without
// an ID says what no rule reports.
//
//go:embed rules.jsonl
var rulesFile string

// rule finds one kind of credential.
type rule struct {
	ID       string   `json:"id"`
	Keywords []string `json:"keywords"` // one of them is in every match, in lower case
	Regex    string   `json:"regex"`
	Entropy  float64  `json:"entropy"` // what a secret has more of, in bits a character
	Group    int      `json:"group"`   // of the regex that is the secret; 0 is the first that is not empty
	Allow    []*allow `json:"allow"`
	Named    bool     `json:"named"` // it begins with a name, and where that has a keyword

	regex pattern
}

// allow is what is no secret although a rule finds it.
type allow struct {
	Target  string   `json:"target"` // of Regexes: match, line, or else the secret
	Regexes []string `json:"regexes"`
	Words   []string `json:"words"` // in the secret, in lower case

	patterns []*pattern
}

// own is in our own words: gitleaks has no rule for it. Placeholders are none.
var own = rule{
	ID: URLPassword, Keywords: []string{"://"},
	Regex: `\b[a-zA-Z][a-zA-Z0-9+.-]{1,20}://[^\s:/?#@'"]{0,100}:([^\s/?#@'"]{4,200})@[\w.-]`,
	Allow: []*allow{{Regexes: []string{
		`[${}<>()%*]`, `(?i)^(?:pass(?:word|wd|phrase)?|pwd|secret|token|changeme|example|redacted|x+)$`,
	}}},
}

// leastTelling is the rule that knows nothing but the name and the randomness:
// it is asked last.
const leastTelling = "generic-api-key"

// anyName is how a rule begins that looks for an assignment to a name with a
// keyword in it. Such a rule is tried where there is a keyword and nowhere
// else, which takes a tenth of the time.
const anyName = `(?i)[\w.-]{0,50}?`

type ruleSet struct {
	rules  []*rule
	always []*allow // of all rules
}

// load reads the rules when they are needed first.
var load = sync.OnceValue(func() *ruleSet {
	set := &ruleSet{rules: []*rule{&own}}
	var last []*rule
	for text := range strings.Lines(rulesFile) {
		r := &rule{}
		if err := json.Unmarshal([]byte(text), r); err != nil {
			panic(fmt.Sprintf("rules.jsonl: %v", err)) // it is a part of this program
		}
		switch r.ID {
		case "":
			set.always = r.Allow
		case leastTelling:
			last = append(last, r)
		default:
			set.rules = append(set.rules, r)
		}
	}
	set.rules = append(set.rules, last...)
	prepare(set.always)
	for _, r := range set.rules {
		r.regex.text = r.Regex
		if r.Named {
			r.regex.text = "^(?i)" + strings.TrimPrefix(r.Regex, anyName)
		}
		prepare(r.Allow)
	}
	return set
})

func prepare(list []*allow) {
	for _, a := range list {
		for _, text := range a.Regexes {
			a.patterns = append(a.patterns, &pattern{text: text})
		}
	}
}

func allows(list []*allow, secret, match, line string) bool {
	return slices.ContainsFunc(list, func(a *allow) bool {
		target := secret
		switch a.Target {
		case "match":
			target = match
		case "line":
			target = line
		}
		low := lower(secret)
		return slices.ContainsFunc(a.patterns, func(p *pattern) bool { return p.get().MatchString(target) }) ||
			slices.ContainsFunc(a.Words, func(w string) bool { return strings.Contains(low, w) })
	})
}

// pattern is a regular expression that takes memory only around its use: one
// of these rules takes 100 KiB, and they are asked after a commit.
type pattern struct {
	text string

	mu       sync.Mutex
	compiled weak.Pointer[regexp.Regexp]
}

func (p *pattern) get() *regexp.Regexp {
	p.mu.Lock()
	defer p.mu.Unlock()
	re := p.compiled.Value()
	if re == nil {
		re = regexp.MustCompile(p.text)
		p.compiled = weak.Make(re)
	}
	return re
}

// Known reports whether there is a rule of that name.
func Known(rule string) bool {
	return rule == URLPassword || strings.Contains(rulesFile, `{"id":"`+rule+`",`)
}
