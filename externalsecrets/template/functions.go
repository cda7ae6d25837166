package template

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"sigs.k8s.io/yaml"
)

// fromSprig names the functions that are taken from sprig: those whose result
// depends on nothing but their arguments. The list says what is allowed, not
// what is not, so that a new version of sprig brings nothing along.
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
base dir clean ext isAbs
b64enc b64dec b32enc b32dec
tuple list dict get set unset hasKey pluck pick omit merge mergeOverwrite mustMerge mustMergeOverwrite
append push mustAppend mustPush prepend mustPrepend first mustFirst rest mustRest last mustLast initial mustInitial
reverse mustReverse uniq mustUniq without mustWithout has mustHas slice mustSlice concat dig chunk mustChunk
decryptAES
semver semverCompare fail
regexMatch mustRegexMatch regexFindAll mustRegexFindAll regexFind mustRegexFind regexReplaceAll mustRegexReplaceAll
regexReplaceAllLiteral mustRegexReplaceAllLiteral regexSplit mustRegexSplit regexQuoteMeta
urlParse urlJoin`

// unstable names the functions of External Secrets Operator that are left out
// on purpose: a Secret made with them would change at every refresh, or tell
// something about the controller's host.
var unstable = set(`
env expandenv getHostByName now ago date dateInZone date_in_zone htmlDate htmlDateInZone durationRound
randAlphaNum randAlpha randAscii randNumeric randBytes randInt shuffle uuidv4
bcrypt htpasswd derivePassword encryptAES genPrivateKey buildCustomCert genCA genCAWithKey
genSelfSignedCert genSelfSignedCertWithKey genSignedCert genSignedCertWithKey
osBase osClean osDir osExt osIsAbs`)

func set(names string) map[string]bool {
	out := map[string]bool{}
	for name := range strings.FieldsSeq(names) {
		out[name] = true
	}
	return out
}

// functions returns what a template may call, without the guard.
func functions() template.FuncMap {
	all := sprig.TxtFuncMap()
	out := template.FuncMap{
		// Go's own, named here so that they are guarded too.
		"print": fmt.Sprint, "printf": fmt.Sprintf, "println": fmt.Sprintln,
		"html": template.HTMLEscaper, "js": template.JSEscaper, "urlquery": template.URLQueryEscaper,
		// Sprig's go through a map in whatever order comes.
		"keys": keys, "values": values,
		// Those of External Secrets Operator.
		"toYaml": toYAML, "fromYaml": fromYAML, "hexdec": hexdec,
		"filterPEM": filterPEM, "filterCertChain": filterCertChain, "certSANs": certSANs,
		"jwkPublicKeyPem": jwkPublicKeyPem, "jwkPrivateKeyPem": jwkPrivateKeyPem, "rsaDecrypt": rsaDecrypt,
	}
	for name := range set(fromSprig) {
		out[name] = all[name]
	}
	return out
}

// keys returns the keys of all dicts, in order.
func keys(dicts ...map[string]any) []string {
	var out []string
	for _, d := range dicts {
		out = append(out, slices.Sorted(maps.Keys(d))...)
	}
	return out
}

// values returns the values of a dict, in the order of their keys.
func values(d map[string]any) []any {
	var out []any
	for _, key := range slices.Sorted(maps.Keys(d)) {
		out = append(out, d[key])
	}
	return out
}

func toYAML(v any) (string, error) {
	data, err := yaml.Marshal(v)
	return strings.TrimSuffix(string(data), "\n"), err
}

func fromYAML(text string) (map[string]any, error) {
	out := map[string]any{}
	return out, yaml.Unmarshal([]byte(text), &out)
}

func hexdec(text string) (string, error) {
	data, err := hex.DecodeString(text)
	return string(data), err
}
