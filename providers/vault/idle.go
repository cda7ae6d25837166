package vault

import (
	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
)

// idle is a setting that makes no difference, and why. External Secrets passes
// over it in silence, so it is told and not refused.
type idle struct{ field, why string }

// way is a way in, by its field below auth, and whether it is set.
type way struct {
	field string
	set   bool
}

// ways are those of a, in the order in which they count.
func ways(a *esv1.VaultAuth) []way {
	return []way{
		{"tokenSecretRef", a.TokenSecretRef != nil}, {"appRole", a.AppRole != nil}, {"kubernetes", a.Kubernetes != nil}, {"ldap", a.LDAP != nil},
		{"userPass", a.UserPass != nil}, {"jwt", a.JWT != nil}, {"cert", a.Cert != nil}, {"iam", a.IAM != nil}, {"gcp", a.GCP != nil},
	}
}

// idleSettings are the settings of p that something else overrules.
func idleSettings(p *esv1.VaultProvider, ambient bool) []idle {
	var all []idle
	if len(p.CABundle) > 0 && p.CAProvider != nil {
		all = append(all, idle{"caProvider", "caBundle counts; remove one of them"})
	}
	if p.Auth == nil {
		return all
	}
	first := ""
	for _, w := range ways(p.Auth) {
		switch {
		case w.set && first == "":
			first = w.field
			all = append(all, idleOf(first, p.Auth, ambient)...)
		case w.set:
			all = append(all, idle{"auth." + w.field, "auth." + first + " counts; remove one of them"})
		}
	}
	return all
}

// idleOf are the settings of one way in that it does not look at.
func idleOf(field string, a *esv1.VaultAuth, ambient bool) []idle {
	var all []idle
	add := func(is bool, inner, why string) {
		if is {
			all = append(all, idle{"auth." + field + "." + inner, why})
		}
	}
	switch field {
	case "appRole":
		add(a.AppRole.RoleID != "" && a.AppRole.RoleRef != nil, "roleRef", "roleId counts; remove one of them")
	case "kubernetes":
		add(a.Kubernetes.ServiceAccountRef != nil && a.Kubernetes.SecretRef != nil, "secretRef", "serviceAccountRef counts; remove one of them")
	case "jwt":
		add(a.JWT.SecretRef != nil && a.JWT.KubernetesServiceAccountToken != nil, "kubernetesServiceAccountToken", "secretRef counts; remove one of them")
	case "iam":
		add(a.IAM.JWT != nil && a.IAM.SecretRef != nil, "secretRef", "jwt counts; remove one of them")
		add(a.IAM.ExternalID != "" && a.IAM.Role == "", "externalID", "it goes with role, which is empty; set role, or remove it")
	case "gcp":
		all = idleOfGCP(a.GCP, ambient)
	}
	return all
}

func idleOfGCP(g *esv1.VaultGCPAuth, ambient bool) []idle {
	var all []idle
	add := func(is bool, inner, why string) {
		if is {
			all = append(all, idle{"auth.gcp." + inner, why})
		}
	}
	w := g.WorkloadIdentity
	used := w != nil && g.SecretRef == nil
	add(w != nil && g.SecretRef != nil, "workloadIdentity", "secretRef counts; remove one of them")
	add(g.ServiceAccountRef != nil && g.SecretRef != nil, "serviceAccountRef", "secretRef counts; remove one of them")
	add(g.ServiceAccountRef != nil && used, "serviceAccountRef", "workloadIdentity counts; remove one of them")
	add(g.ServiceAccountRef != nil && w == nil && g.SecretRef == nil && ambient, "serviceAccountRef",
		"the store logs in as the controller; set workloadIdentity.serviceAccountRef, with the cluster, or remove it")
	add(g.Location != "" && (!used || w.ClusterLocation != ""), "location", "it stands in for workloadIdentity.clusterLocation only; remove it")
	add(g.ProjectID != "" && (!used || w.ClusterProjectID != ""), "projectID", "it stands in for workloadIdentity.clusterProjectID only; remove it")
	return all
}
