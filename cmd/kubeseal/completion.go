package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Flags whose value is a file, or one of a few words. After all others a shell
// offers nothing.
var (
	fileFlags = []string{"cert", "sealed-secret-file", "secret-file", "merge-into", "from-file", "kubeconfig", "recovery-private-key", "certificate-authority", "client-certificate", "client-key"}
	wordFlags = map[string]string{"format": "json yaml", "scope": "strict namespace-wide cluster-wide"}
)

// complete prints the completion script of a shell.
func (o *options) complete(out io.Writer) error {
	switch o.completion {
	case "bash":
		fmt.Fprint(out, o.bash())
	case "zsh":
		fmt.Fprint(out, "#compdef kubeseal\nautoload -U +X bashcompinit && bashcompinit\n"+o.bash())
	case "fish":
		fmt.Fprint(out, o.fish())
	default:
		return fmt.Errorf("--completion %q: use bash, zsh or fish", o.completion)
	}
	return nil
}

// shown are the flags that --help shows.
func (o *options) shown() []*pflag.Flag {
	var all []*pflag.Flag
	o.flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && f.Deprecated == "" {
			all = append(all, f)
		}
	})
	return all
}

func (o *options) bash() string {
	var names []string
	var cases strings.Builder
	for _, f := range o.shown() {
		names = append(names, "--"+f.Name)
		pattern := "--" + f.Name
		if f.Shorthand != "" {
			pattern += "|-" + f.Shorthand
		}
		words, ok := wordFlags[f.Name]
		switch {
		case ok:
			fmt.Fprintf(&cases, "    %s) COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n", pattern, words)
		case slices.Contains(fileFlags, f.Name):
			fmt.Fprintf(&cases, "    %s) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", pattern)
		case f.NoOptDefVal == "":
			fmt.Fprintf(&cases, "    %s) return ;;\n", pattern)
		}
	}
	return fmt.Sprintf(`_kubeseal() {
  local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}"
  COMPREPLY=()
  case "$prev" in
%s  esac
  COMPREPLY=($(compgen -W '%s' -- "$cur"))
}
complete -o filenames -F _kubeseal kubeseal
`, cases.String(), strings.Join(names, " "))
}

func (o *options) fish() string {
	var b strings.Builder
	for _, f := range o.shown() {
		fmt.Fprintf(&b, "complete -c kubeseal -l %s", f.Name)
		if f.Shorthand != "" {
			fmt.Fprintf(&b, " -s %s", f.Shorthand)
		}
		words, ok := wordFlags[f.Name]
		switch {
		case ok:
			fmt.Fprintf(&b, " -x -a '%s'", words)
		case slices.Contains(fileFlags, f.Name):
			b.WriteString(" -r")
		case f.NoOptDefVal == "":
			b.WriteString(" -x")
		}
		fmt.Fprintf(&b, " -d '%s'\n", strings.ReplaceAll(f.Usage, "'", `\'`))
	}
	return b.String()
}
