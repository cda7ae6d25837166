//go:build !unix

package main

import "os"

// keysAsked gets nothing where there is no SIGUSR1.
func keysAsked() <-chan os.Signal { return nil }
