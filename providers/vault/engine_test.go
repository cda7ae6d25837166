package vault

import (
	"errors"
	"net/url"
	"reflect"
	"testing"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

func TestLocate(t *testing.T) {
	cases := map[string]struct {
		reason  string
		path    string
		version esv1.VaultKVVersion
		ref     providers.Ref
		want    location // zero: ErrInvalid
	}{
		"Relative":      {"The key is below the mount.", "secret", "v2", providers.Ref{Path: "app/db"}, location{mount: "secret", path: "secret/data/app/db"}},
		"DefaultIsV2":   {"An empty version is 2.", "secret", "", providers.Ref{Path: "app"}, location{mount: "secret", path: "secret/data/app"}},
		"WithMount":     {"The key may repeat the mount.", "secret", "v2", providers.Ref{Path: "secret/app"}, location{mount: "secret", path: "secret/data/app"}},
		"WithData":      {"And the data/ after it.", "secret", "v2", providers.Ref{Path: "secret/data/app"}, location{mount: "secret", path: "secret/data/app"}},
		"OnlyData":      {"Without the mount, data is a name like any other.", "secret", "v2", providers.Ref{Path: "data/app"}, location{mount: "secret", path: "secret/data/data/app"}},
		"Slashes":       {"Slashes at the ends do not count.", "/secret/", "v2", providers.Ref{Path: "/app/"}, location{mount: "secret", path: "secret/data/app"}},
		"DeepMount":     {"A mount may have several parts.", "team/kv", "v2", providers.Ref{Path: "app"}, location{mount: "team/kv", path: "team/kv/data/app"}},
		"NoMount":       {"Without path, the first part is the mount.", "", "v2", providers.Ref{Path: "secret/app/db"}, location{mount: "secret", path: "secret/data/app/db"}},
		"NoMountData":   {"Or the key is the API's path.", "", "v2", providers.Ref{Path: "team/kv/data/app"}, location{mount: "team/kv", path: "team/kv/data/app"}},
		"NoMountAtAll":  {"One part is no mount and key.", "", "v2", providers.Ref{Path: "app"}, location{}},
		"V1":            {"Version 1 has no data/.", "kv", "v1", providers.Ref{Path: "app/db"}, location{mount: "kv", path: "kv/app/db"}},
		"V1WithMount":   {"There the key may repeat the mount, too.", "kv", "v1", providers.Ref{Path: "kv/app"}, location{mount: "kv", path: "kv/app"}},
		"V1NoMount":     {"Or name it.", "", "v1", providers.Ref{Path: "kv/app/db"}, location{mount: "kv", path: "kv/app/db"}},
		"Version":       {"A version is a parameter.", "secret", "v2", providers.Ref{Path: "app", Version: "3"}, location{mount: "secret", path: "secret/data/app", query: url.Values{"version": {"3"}}}},
		"VersionNaN":    {"A version is a number.", "secret", "v2", providers.Ref{Path: "app", Version: "latest"}, location{}},
		"VersionZero":   {"Zero is none.", "secret", "v2", providers.Ref{Path: "app", Version: "0"}, location{}},
		"VersionV1":     {"Version 1 keeps none.", "kv", "v1", providers.Ref{Path: "app", Version: "1"}, location{}},
		"Up":            {"A key cannot leave the mount.", "secret", "v2", providers.Ref{Path: "../../sys/mounts"}, location{}},
		"Dot":           {"Nor hide in it.", "secret", "v2", providers.Ref{Path: "a/./b"}, location{}},
		"EmptyPart":     {"Vault has no name between two slashes.", "secret", "v2", providers.Ref{Path: "a//b"}, location{}},
		"Empty":         {"Nothing is no key.", "secret", "v2", providers.Ref{}, location{}},
		"QuestionMarks": {"What means something in a URL is a part of the name.", "secret", "v2", providers.Ref{Path: "a?version=1#b%2f"}, location{mount: "secret", path: "secret/data/a?version=1#b%2f"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := newEngine(&esv1.VaultProvider{Path: &tc.path, Version: tc.version}).locate(tc.ref)
			if tc.want.path == "" {
				if !errors.Is(err, providers.ErrInvalid) {
					t.Errorf("%s\nlocate(%+v): got %+v, %v, want ErrInvalid", tc.reason, tc.ref, got, err)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("%s\nlocate(%+v): got %+v, %v, want %+v", tc.reason, tc.ref, got, err, tc.want)
			}
		})
	}
}
