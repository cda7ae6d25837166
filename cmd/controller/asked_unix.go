//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// keysAsked gets a signal for each new sealing key that someone asks for with
// kill -USR1, as people do with Sealed Secrets.
// Source: cmd/controller/main.go and pkg/controller/signal_notwin.go of
// bitnami-labs/sealed-secrets v0.36.6.
func keysAsked() <-chan os.Signal {
	asked := make(chan os.Signal, 1) // what comes while a key is made asks for the same one
	signal.Notify(asked, syscall.SIGUSR1)
	return asked
}
