//go:build !mutant

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "mutants: this build has no bugs to switch on; it is run by: make mutants")
	os.Exit(2)
}
