package main

import (
	"fmt"
	"maps"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
	genv1alpha1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	lockstepv1alpha1 "github.com/lockstep-dev/lockstep/apis/lockstep/v1alpha1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fanout"
	"github.com/lockstep-dev/lockstep/externalsecrets/generators"
	"github.com/lockstep-dev/lockstep/externalsecrets/pull"
	"github.com/lockstep-dev/lockstep/externalsecrets/push"
	"github.com/lockstep-dev/lockstep/externalsecrets/queue"
	"github.com/lockstep-dev/lockstep/externalsecrets/stores"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/aws"
	"github.com/lockstep-dev/lockstep/providers/fake"
	"github.com/lockstep-dev/lockstep/providers/gcp"
	"github.com/lockstep-dev/lockstep/providers/kubernetes"
	"github.com/lockstep-dev/lockstep/providers/vault"
	"github.com/lockstep-dev/lockstep/providers/webhook"
	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/reconciler/apply"
	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/reconciler/kustomization"
	"github.com/lockstep-dev/lockstep/reconciler/reseal"
	"github.com/lockstep-dev/lockstep/reconciler/sealedsecret"
	"github.com/lockstep-dev/lockstep/reconciler/source"
	"github.com/lockstep-dev/lockstep/reconciler/source/bucket"
	"github.com/lockstep-dev/lockstep/reconciler/source/external"
	"github.com/lockstep-dev/lockstep/reconciler/source/oci"
	"github.com/lockstep-dev/lockstep/sealer"
)

// newScheme holds the kinds that are served, and those of Kubernetes.
func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, sourcev1.AddToScheme, kustomizev1.AddToScheme, bitnamiv1alpha1.AddToScheme, esv1.AddToScheme, esv1alpha1.AddToScheme, genv1alpha1.AddToScheme, lockstepv1alpha1.AddToScheme,
	} {
		utilruntime.Must(add(s)) // fails only if a kind is registered twice
	}
	return s
}

// aws is where its services are.
func (o *options) aws() aws.Endpoints {
	return aws.Endpoints{SecretsManager: o.secretsManager, ParameterStore: o.parameterStore, STS: o.sts, Ambient: aws.Ambient()}
}

// clouds are who vouches for a store at Vault.
func (o *options) clouds() vault.Clouds {
	return vault.Clouds{AWS: o.aws().Identity, GCP: gcp.Endpoints{}.Login}
}

// backends are the services that stores can name.
func backends(o *options) providers.Registry {
	return providers.Registry{
		esv1.ProviderAWS:        aws.New(o.aws()),
		esv1.ProviderVault:      vault.New(o.clouds()),
		esv1.ProviderOpenBao:    vault.OpenBao,
		esv1.ProviderGCP:        gcp.New(gcp.Endpoints{Ambient: gcp.Ambient()}),
		esv1.ProviderKubernetes: kubernetes.Open,
		esv1.ProviderWebhook:    webhook.Open,
		esv1.ProviderFake:       fake.Open,
	}
}

// makers are the services that generators ask.
func makers(o *options) providers.Generators {
	all := aws.Registries{Endpoints: o.aws(), ECR: o.ecr, ECRPublic: o.ecrPublic}.Generators()
	maps.Copy(all, gcp.Generators(gcp.Endpoints{Ambient: gcp.Ambient()}))
	maps.Copy(all, o.clouds().Generators())
	return all
}

// setup is the table of contents of the suite: one line per controller.
func setup(mgr ctrl.Manager, o *options) error {
	account, err := o.sync.account()
	if err != nil {
		return err
	}
	selector, err := o.picked()
	if err != nil {
		return err
	}
	renewal, err := o.renewal()
	if err != nil {
		return err
	}
	c, reader, metadata := mgr.GetClient(), mgr.GetAPIReader(), mgr.GetCache()
	events, err := newRecorder(mgr, "lockstep")
	if err != nil {
		return err
	}
	refs := reconciler.References{AllowCrossNamespace: o.allowCrossNamespaceRefs}
	clients := &apply.Clients{Config: mgr.GetConfig(), Mapper: mgr.GetRESTMapper(), Override: o.sync.override}
	ring, sources := &sealer.Keyring{}, source.NewStore()
	open := &stores.Stores{Client: c, Reader: reader, Metadata: metadata, Registry: backends(o), Class: o.controllerClass, Identity: o.identity}

	line := &queue.Queue{Stores: open}
	made := &generators.Generators{Reader: c, References: open.References, Registry: open.Registry, Backends: makers(o), Ambient: open.Identity.Ambient, LinkLocal: open.Identity.LinkLocal, Class: o.controllerClass}
	puller := &pull.Controller{Client: c, Reader: reader, Metadata: metadata, Recorder: events, Stores: open, Queue: line, Makers: made, Namespace: o.namespace}
	clouds := &logins{makers: makers(o), references: open.References, identity: o.identity}
	deps := source.Deps{Client: c, Metadata: metadata, Secrets: reader, Recorder: events, Store: sources}

	for _, r := range []interface{ SetupWithManager(ctrl.Manager) error }{
		&source.Controller{Client: c, Metadata: metadata, Secrets: reader, Recorder: events, Store: sources, AllowHTTPCredentials: o.allowHTTPCredentials, MaxGitSize: o.maxGitSize << 20, Login: clouds.git},
		oci.New(deps, oci.Options{AllowHTTPCredentials: o.allowHTTPCredentials, Login: clouds.oci}),
		bucket.New(deps, bucket.Options{AllowHTTPCredentials: o.allowHTTPCredentials}),
		&external.Controller{Deps: deps},
		&kustomization.Controller{Client: c, Metadata: metadata, Recorder: events, Sources: sources, Clients: clients, Account: account, References: refs, DefaultServiceAccount: o.sync.defaultServiceAccount, Permissive: o.sync.permissive, Plaintext: o.sync.plaintext, Decryption: o.sync.decryption, AgeSecret: types.NamespacedName{Namespace: o.namespace, Name: o.sync.ageSecret}},
		&keys.Controller{Client: c, Reader: reader, Recorder: events, Ring: ring, Namespace: o.namespace, Prefix: o.keyPrefix, KeySize: o.keySize, TTL: o.keyTTL, Renewal: renewal, Addr: o.sealingAddr, RateLimit: o.rateLimit, RateBurst: o.rateBurst, ReadTimeout: o.readTimeout, WriteTimeout: o.writeTimeout, Asked: o.keysAsked},
		&sealedsecret.Controller{Client: c, Reader: reader, Recorder: events, Keys: ring, Selector: selector, AcceptDeprecatedData: o.acceptV1Data, AllowPrivileged: o.allowPrivileged, Namespace: o.namespace, KeyPrefix: o.keyPrefix, OmitMetricLabels: o.omitLabels},
		&reseal.Controller{Client: c, Secrets: reader, Recorder: events, Ring: ring, Sources: sources, Namespace: o.namespace, AllowHTTPCredentials: o.allowHTTPCredentials},
		&stores.Controller{Client: c, Recorder: events, Stores: open},
		puller,
		hints(o, open, puller, events),
		&fanout.Controller{Client: c, Metadata: metadata, Recorder: events},
		&push.Controller{Client: c, Reader: reader, Metadata: metadata, Recorder: events, Stores: open, Queue: line, Makers: made},
	} {
		if err := r.SetupWithManager(mgr); err != nil {
			return fmt.Errorf("set up %T: %w", r, err)
		}
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("add health check: %w", err)
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("add readiness check: %w", err)
	}
	return nil
}
