package main

import (
	"errors"
	"flag"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	uberzap "go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/lockstep-dev/lockstep/externalsecrets/stores"
	"github.com/lockstep-dev/lockstep/reconciler/apply"
	"github.com/lockstep-dev/lockstep/reconciler/source"
)

// options are the controller's settings. Every one is a flag.
type options struct {
	namespace   string
	healthAddr  string
	metricsAddr string
	sealingAddr string
	leaderElect bool
	logLevel    string
	logFormat   logFormat

	keyOptions
	sealOptions
	peerOptions

	sync                    syncOptions
	allowCrossNamespaceRefs bool
	allowHTTPCredentials    bool
	maxGitSize              int64
	controllerClass         string
	eventsAddr              string
	identity                stores.Identity
	secretsManager, sts     string
	parameterStore          string
	ecr, ecrPublic          string

	version bool
}

func parse(args []string) (*options, error) {
	o := &options{logFormat: "json"}
	fs := flag.NewFlagSet("controller", flag.ContinueOnError)
	o.bind(fs)
	if err := environment(fs); err != nil {
		return nil, err
	}
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q: settings are flags, see --help", fs.Arg(0))
	}
	if o.namespace == "" && !o.version {
		return nil, errors.New("--namespace is missing: the namespace that the controller runs in, or set POD_NAMESPACE")
	}
	if err := o.checkPermissive(fs); err != nil {
		return nil, err
	}
	o.standAside(fs)
	return o, nil
}

func (o *options) bind(fs *flag.FlagSet) {
	fs.StringVar(&o.namespace, "namespace", ownNamespace(namespaceFile), "namespace of the controller: its sealing keys and its lease (default $POD_NAMESPACE, or that of the Pod)")
	fs.StringVar(&o.healthAddr, "health-addr", ":8081", "address of /healthz and /readyz")
	fs.StringVar(&o.metricsAddr, "metrics-addr", ":8082", "address of /metrics; 0 serves none")
	fs.StringVar(&o.sealingAddr, "sealing-addr", ":8080", "address of the API that kubeseal uses (/v1/cert.pem)")
	fs.BoolVar(&o.leaderElect, "leader-elect", true, "let only one replica work")
	fs.StringVar(&o.logLevel, "log-level", "info", "debug, info or error")
	fs.Var(&o.logFormat, "log-format", "json or text")

	o.keyOptions.bind(fs)
	o.sealOptions.bind(fs)
	o.peerOptions.bind(fs, o)
	o.sync.bind(fs)
	fs.BoolVar(&o.allowCrossNamespaceRefs, "allow-cross-namespace-refs", false, "let a Kustomization refer to sources and Kustomizations of other namespaces, as Flux does by default")
	fs.BoolVar(&o.allowHTTPCredentials, "allow-http-credentials", false, "send credentials of sources over http:// too, unencrypted")
	fs.Int64Var(&o.maxGitSize, "max-git-size", source.DefaultMaxGitSize>>20, "MiB that the newest commit of a repository may have; it is held in memory while it is read")
	fs.StringVar(&o.secretsManager, "aws-secretsmanager-endpoint", endpointOf("SECRETSMANAGER", "SECRETS_MANAGER"), "URL of AWS Secrets Manager instead of the region's own (default $AWS_SECRETSMANAGER_ENDPOINT, $AWS_ENDPOINT_URL_SECRETS_MANAGER or $AWS_ENDPOINT_URL)")
	fs.StringVar(&o.parameterStore, "aws-ssm-endpoint", endpointOf("SSM", "SSM"), "URL of AWS Parameter Store instead of the region's own (default $AWS_SSM_ENDPOINT, $AWS_ENDPOINT_URL_SSM or $AWS_ENDPOINT_URL)")
	fs.StringVar(&o.ecr, "aws-ecr-endpoint", endpointOf("ECR", "ECR"), "URL of Amazon ECR instead of the region's own (default $AWS_ECR_ENDPOINT, $AWS_ENDPOINT_URL_ECR or $AWS_ENDPOINT_URL)")
	fs.StringVar(&o.ecrPublic, "aws-ecr-public-endpoint", endpointOf("ECR_PUBLIC", "ECR_PUBLIC"), "URL of Amazon ECR Public instead of AWS's own (default $AWS_ECR_PUBLIC_ENDPOINT, $AWS_ENDPOINT_URL_ECR_PUBLIC or $AWS_ENDPOINT_URL)")
	fs.StringVar(&o.sts, "aws-sts-endpoint", endpointOf("STS", "STS"), "URL of AWS STS instead of the region's own (default $AWS_STS_ENDPOINT, $AWS_ENDPOINT_URL_STS or $AWS_ENDPOINT_URL)")
	fs.StringVar(&o.controllerClass, "controller-class", "default", "serve stores whose spec.controller is this or empty")
	fs.Func("ambient-credentials-namespaces", "namespaces, or patterns such as team-*, with commas between them, whose SecretStores and sources may use the identity that a cloud gives to the controller; ClusterSecretStores may anyway", names(&o.identity.AmbientNamespaces))
	fs.BoolVar(&o.identity.LinkLocal, "allow-link-local", false, "let stores name servers at link-local addresses and at those of metadata services")

	fs.StringVar(&o.eventsAddr, "events-addr", "", "address of the webhooks that tell of changed secrets (/events/NAMESPACE/STORE); empty serves none")

	fs.BoolVar(&o.version, "version", false, "print the version and exit")
}

// shutdown is how long running reconciles may take to end: less than the 30 s
// that Kubernetes gives a Pod.
const shutdown = 20 * time.Second

func (o *options) manager(namespaces map[string]cache.Config) ctrl.Options {
	grace := shutdown
	return ctrl.Options{
		Scheme:                        newScheme(),
		MapperProvider:                apply.NewMapper,
		HealthProbeBindAddress:        o.healthAddr,
		Metrics:                       metricsserver.Options{BindAddress: o.metricsAddr},
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              "lockstep-controller",
		LeaderElectionNamespace:       o.namespace,
		LeaderElectionReleaseOnCancel: true, // a restart takes over at once
		Cache:                         cache.Options{DefaultNamespaces: namespaces, ByObject: slim()},
		GracefulShutdownTimeout:       &grace,
		// No informer holds the values of Secrets or ConfigMaps.
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}}}},
	}
}

func (o *options) setLogger() error {
	level, err := zapcore.ParseLevel(o.logLevel)
	if err != nil {
		return fmt.Errorf("--log-level %q: use debug, info or error", o.logLevel)
	}
	encoder := zap.JSONEncoder()
	if o.logFormat == "text" {
		encoder = zap.ConsoleEncoder()
	}
	logger := zap.New(encoder, zap.Level(uberzap.NewAtomicLevelAt(level)), zap.StacktraceLevel(zapcore.PanicLevel))
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)
	return nil
}
