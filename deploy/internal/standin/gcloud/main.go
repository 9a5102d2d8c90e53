// Command gcloud stands in for gcloud, or for the program whose name it has. Its
// file is named by STAND_IN.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/latchwork/latchwork/deploy/internal/standin"
)

func main() {
	if err := standin.Run(os.Getenv("STAND_IN"), filepath.Base(os.Args[0]), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "ERROR:", err)
		os.Exit(1)
	}
}
