package chart

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

// unusedRights are what the chart grants and TestInstall does not use, and why
// it is granted. "get" and "list" of what may be watched are no rights of their
// own: a watch sends all of it, and what client-go falls back to are those two.
var unusedRights = map[string]string{
	"patch events": "an event that comes again within minutes is counted, not made anew",
	"update externalsecrets/finalizers.external-secrets.io":        "what is made blocks the deletion of its owner: OwnerReferencesPermissionEnforcement asks for it",
	"update clusterexternalsecrets/finalizers.external-secrets.io": "as for externalsecrets",
	"update clusterpushsecrets/finalizers.external-secrets.io":     "as for externalsecrets",
}

// auditEvent is a line of the API server's audit log.
type auditEvent struct {
	Verb, RequestURI string
	User             struct{ Username string }
	ImpersonatedUser *struct{ Username string }
	ObjectRef        *struct{ APIGroup, Resource, Subresource, Namespace string }
	ResponseStatus   struct{ Code int }
	Annotations      map[string]string
}

// right is what RBAC grants, as "verb resource/subresource.group".
func right(verb, group, resource string) string {
	return strings.TrimSuffix(verb+" "+resource+"."+group, ".")
}

// usedRights reads what the controller did with the rights of its account, and
// fails t for what it was refused. What it did as somebody else is that one's.
func usedRights(t *testing.T, cp *testenv.ControlPlane, ns string) map[string]bool {
	t.Helper()
	log, err := os.Open(cp.AuditLog())
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	used, requests := map[string]bool{}, 0
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e auditEvent
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("audit log: %v", err)
		}
		if e.User.Username != "system:serviceaccount:"+ns+":"+release {
			continue
		}
		requests++
		switch {
		case e.ImpersonatedUser != nil:
			used[right("impersonate", "", "serviceaccounts")] = true
		case e.Annotations["authorization.k8s.io/decision"] == "forbid":
			t.Errorf("the chart does not grant what the controller asked for: %s %s", e.Verb, e.RequestURI)
		case e.ObjectRef != nil:
			resource := strings.TrimSuffix(e.ObjectRef.Resource+"/"+e.ObjectRef.Subresource, "/")
			used[right(e.Verb, e.ObjectRef.APIGroup, resource)] = true
		}
	}
	if err := lines.Err(); err != nil || requests == 0 {
		t.Fatalf("audit log: %d requests of the controller (%v)", requests, err)
	}
	return used
}

// everyRightIsUsed compares what the chart grants with what was used.
func everyRightIsUsed(t *testing.T, used map[string]bool) {
	t.Helper()
	var rules []rbacv1.PolicyRule
	for _, role := range find[rbacv1.ClusterRole](t, nil, "ClusterRole") {
		rules = append(rules, role.Rules...)
	}
	for _, role := range find[rbacv1.Role](t, nil, "Role") {
		rules = append(rules, role.Rules...)
	}
	granted := map[string]bool{}
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					r := right(verb, group, resource)
					granted[r] = true
					watched := slices.Contains([]string{"get", "list"}, verb) && slices.Contains(rule.Verbs, "watch")
					if !used[r] && !watched && unusedRights[r] == "" {
						t.Errorf("granted and not used: %s; remove its marker, or say in unusedRights why it is needed", r)
					}
				}
			}
		}
	}
	for r := range unusedRights {
		if !granted[r] || used[r] {
			t.Errorf("%s is in unusedRights: granted %t, used %t", r, granted[r], used[r])
		}
	}
}
