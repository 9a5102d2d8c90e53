package cli

import (
	"cmp"
	"fmt"
	"runtime/debug"
	"strings"
)

// stamp is the version that a build without the repository writes here, as the
// Dockerfile's does: -ldflags "-X …/internal/cli.stamp=v1.2.3".
var stamp string

type versionCommand struct{}

// Run prints the module's version, the commit where it is known, and Go's version.
func (*versionCommand) Run(env Env) error {
	fmt.Fprintln(env.Stdout, version())
	return nil
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "latchwork (built without module information)"
	}
	words := []string{"latchwork", cmp.Or(stamp, info.Main.Version, "(devel)")}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			words = append(words, s.Value)
		}
	}
	return strings.Join(append(words, info.GoVersion), " ")
}
