package sealedsecret

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
)

// fromSprig names the functions that templates have of sprig: those whose
// result depends on nothing but their arguments. The list says what is allowed,
// not what is not, so that a new version of sprig brings nothing along.
// docs/templates-sealed.md says what is left out, and why.
const fromSprig = `
toDate mustToDate unixEpoch dateModify date_modify mustDateModify must_date_modify duration
abbrev abbrevboth trunc trim upper lower title untitle substr repeat trimall trimAll trimSuffix trimPrefix nospace initials
swapcase snakecase camelcase kebabcase wrap wrapWith contains hasPrefix hasSuffix quote squote cat indent nindent replace plural
sha1sum sha256sum sha512sum adler32sum toString
atoi int64 int float64 seq toDecimal split splitList splitn toStrings until untilStep
add1 add sub div mod mul add1f addf subf divf mulf biggest max min maxf minf ceil floor round
join sortAlpha
default empty coalesce all any compact mustCompact fromJson toJson toPrettyJson toRawJson
mustFromJson mustToJson mustToPrettyJson mustToRawJson ternary deepCopy mustDeepCopy
typeOf typeIs typeIsLike kindOf kindIs deepEqual
base dir clean ext isAbs osBase osClean osDir osExt osIsAbs
b64enc b64dec b32enc b32dec
tuple list dict get set unset hasKey pluck pick omit merge mergeOverwrite mustMerge mustMergeOverwrite
append push mustAppend mustPush prepend mustPrepend first mustFirst rest mustRest last mustLast initial mustInitial
reverse mustReverse uniq mustUniq without mustWithout has mustHas slice mustSlice concat dig chunk mustChunk
decryptAES
semver semverCompare fail hello
regexMatch mustRegexMatch regexFindAll mustRegexFindAll regexFind mustRegexFind regexReplaceAll mustRegexReplaceAll
regexReplaceAllLiteral mustRegexReplaceAllLiteral regexSplit mustRegexSplit regexQuoteMeta
urlParse urlJoin`

// allowed returns what a template may call, without the budget.
func allowed() template.FuncMap {
	all := sprig.TxtFuncMap()
	out := template.FuncMap{
		// Go's own, named here so that they are within the budget too.
		"print": fmt.Sprint, "printf": fmt.Sprintf, "println": fmt.Sprintln,
		"html": template.HTMLEscaper, "js": template.JSEscaper, "urlquery": template.URLQueryEscaper,
		// Sprig's go through a map in whatever order comes.
		"keys": keysOf, "values": valuesOf,
	}
	for name := range strings.FieldsSeq(fromSprig) {
		out[name] = all[name]
	}
	return out
}

// keysOf returns the keys of all dicts, in order.
func keysOf(dicts ...map[string]any) []string {
	var out []string
	for _, d := range dicts {
		out = append(out, slices.Sorted(maps.Keys(d))...)
	}
	return out
}

// valuesOf returns the values of a dict, in the order of their keys.
func valuesOf(d map[string]any) []any {
	var out []any
	for _, key := range slices.Sorted(maps.Keys(d)) {
		out = append(out, d[key])
	}
	return out
}
