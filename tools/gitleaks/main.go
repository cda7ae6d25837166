// Command gitleaks writes the rules of gitleaks, as the release that go.mod
// pins has them, in the form that reconciler/render/detect reads: one rule a
// line, and first what no rule reports. Rules for files of other kinds than
// manifests are left out. Run it after an update of the release:
//
//	go -C tools/gitleaks run . > reconciler/render/detect/rules.jsonl
package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/zricethezav/gitleaks/v8/config"
	"github.com/zricethezav/gitleaks/v8/detect"
	"github.com/zricethezav/gitleaks/v8/regexp"
)

type rule struct {
	ID       string   `json:"id,omitempty"`
	Keywords []string `json:"keywords,omitempty"`
	Regex    string   `json:"regex,omitempty"`
	Entropy  float64  `json:"entropy,omitempty"`
	Group    int      `json:"group,omitempty"`
	Named    bool     `json:"named,omitempty"`
	Allow    []allow  `json:"allow,omitempty"`
}

type allow struct {
	Target  string   `json:"target,omitempty"`
	Regexes []string `json:"regexes,omitempty"`
	Words   []string `json:"words,omitempty"`
}

func main() {
	if err := write(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write() error {
	detector, err := detect.NewDetectorDefaultConfig()
	if err != nil {
		return err
	}
	all := []rule{{Allow: allows(detector.Config.Allowlists)}}
	for _, r := range detector.Config.Rules {
		if r.Path != nil || r.Regex == nil || len(r.RequiredRules) > 0 || r.SkipReport {
			continue
		}
		slices.Sort(r.Keywords)
		all = append(all, rule{r.RuleID, r.Keywords, r.Regex.String(), r.Entropy, r.SecretGroup, named(r), allows(r.Allowlists)})
	}
	slices.SortFunc(all, func(a, b rule) int { return cmp.Compare(a.ID, b.ID) })
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for _, r := range all {
		if err := out.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// named reports whether a rule begins with a name that a keyword is in, and
// whether each keyword is where that part of the rule begins: then it need be
// tried nowhere else.
func named(r config.Rule) bool {
	rest, ok := strings.CutPrefix(r.Regex.String(), `(?i)[\w.-]{0,50}?`)
	head, _, cut := strings.Cut(rest, `(?:[ \t`)
	if !ok || !cut {
		return false
	}
	whole := regexp.MustCompile("^(?i:" + head + ")$")
	return !slices.ContainsFunc(r.Keywords, func(k string) bool { return !whole.MatchString(k) && !whole.MatchString(strings.ToUpper(k)) })
}

// allows leaves out what is about paths.
func allows(lists []*config.Allowlist) (all []allow) {
	for _, a := range lists {
		if a.MatchCondition == config.AllowlistMatchAnd || len(a.Regexes)+len(a.StopWords) == 0 {
			continue
		}
		all = append(all, allow{a.RegexTarget, texts(a.Regexes), a.StopWords})
	}
	return all
}

func texts(regexes []*regexp.Regexp) (all []string) {
	for _, r := range regexes {
		all = append(all, r.String())
	}
	return all
}
