package decrypt

import (
	"bytes"
	"encoding/json"
	"path"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/stores/dotenv"
	"github.com/getsops/sops/v3/stores/ini"
	sopsjson "github.com/getsops/sops/v3/stores/json"
	sopsyaml "github.com/getsops/sops/v3/stores/yaml"
	"sigs.k8s.io/yaml"
)

// format is how a file that SOPS has encrypted is written.
type format int

const (
	plain format = iota // not encrypted
	yamlFormat
	jsonFormat
	dotenvFormat
	iniFormat
	binaryFormat
)

// store reads and writes a format.
type store interface {
	sops.EncryptedFileLoader
	sops.PlainFileEmitter
}

var stores = map[format]store{
	yamlFormat:   sopsyaml.NewStore(&config.YAMLStoreConfig{}),
	jsonFormat:   sopsjson.NewStore(&config.JSONStoreConfig{Indent: -1}),
	dotenvFormat: dotenv.NewStore(&config.DotenvStoreConfig{}),
	iniFormat:    ini.NewStore(&config.INIStoreConfig{}),
	binaryFormat: sopsjson.NewBinaryStore(&config.JSONBinaryStoreConfig{}),
}

// detect tells the format of an encrypted file by its content, as it may have
// any name: a file that sops took for binary is JSON, and is told from JSON by
// having one value, called data, and no name that ends in .json.
func detect(name string, data []byte) format {
	switch ext := path.Ext(name); {
	case !bytes.Contains(data, []byte("sops")) || !bytes.Contains(data, []byte("ENC[AES256_GCM,")):
		return plain
	case bytes.Contains(data, []byte("sops_mac=")):
		return dotenvFormat
	case bytes.HasPrefix(data, []byte("[")) && iniSection(data), bytes.Contains(data, []byte("\n[sops]")):
		return iniFormat
	case bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) && ext != ".yaml" && ext != ".yml":
		return jsonOrBinary(ext, data)
	default:
		return yamlFormat
	}
}

func iniSection(data []byte) bool { return bytes.Contains(data, []byte("[sops]")) }

func jsonOrBinary(ext string, data []byte) format {
	var top map[string]json.RawMessage
	if json.Unmarshal(data, &top) != nil || top["sops"] == nil {
		return plain
	}
	if ext != ".json" && len(top) == 2 && bytes.HasPrefix(top["data"], []byte(`"`)) {
		return binaryFormat
	}
	return jsonFormat
}

// document is one document of a YAML file.
type document struct {
	text     []byte
	mac      string // empty if it is not encrypted
	disabled bool   // it asks to be left as it is
}

// Disabled is a label or an annotation that leaves an encrypted object as it
// is with the value "disabled", for a controller of its own. It is Flux's.
const Disabled = "kustomize.toolkit.fluxcd.io/decrypt"

// split cuts a YAML file into its documents, without those that are empty.
func split(data []byte) []document {
	var docs []document
	var text []byte
	end := func() {
		if len(bytes.TrimSpace(text)) > 0 {
			docs = append(docs, describe(text))
		}
		text = nil
	}
	for line := range bytes.Lines(data) {
		if bytes.HasPrefix(line, []byte("---")) && (len(line) == 3 || line[3] == '\n' || line[3] == '\r' || line[3] == ' ') {
			end()
			continue
		}
		text = append(text, line...)
	}
	end()
	return docs
}

func describe(text []byte) document {
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	var header struct {
		Metadata struct {
			Labels      map[string]any `json:"labels"`
			Annotations map[string]any `json:"annotations"`
		} `json:"metadata"`
		SOPS struct {
			MAC string `json:"mac"`
		} `json:"sops"`
	}
	d := document{text: text}
	if yaml.Unmarshal(text, &header) != nil {
		return d // no object: kustomize says what is wrong with it
	}
	d.mac = header.SOPS.MAC
	d.disabled = header.Metadata.Labels[Disabled] == "disabled" || header.Metadata.Annotations[Disabled] == "disabled"
	return d
}
