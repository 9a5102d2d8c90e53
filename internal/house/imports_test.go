package house

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A wall forbids what stands in from to import what stands in to.
type wall struct {
	from, to []string
	tests    bool // the wall holds for test files too
	why      string
}

func walls() []wall {
	worker := []string{"memlock", "tasks", "handlers"}
	return []wall{
		{from: []string{"emulator"}, to: slices.Concat(worker, []string{"examples", "internal/cli"}), tests: true,
			why: "the emulators know the worker by public protocols only: a bug that both shared would cancel out"},
		{from: slices.Concat(worker, []string{"examples"}), to: []string{"emulator"},
			why: "production code never links its stand-ins"},
		{from: []string{"emulator/cloudtasks"}, to: []string{"emulator/datastore", "emulator/memcached", "emulator/console"}, tests: true,
			why: "the three servers stand alone"},
		{from: []string{"emulator/datastore"}, to: []string{"emulator/cloudtasks", "emulator/memcached", "emulator/console"}, tests: true,
			why: "the three servers stand alone"},
		{from: []string{"emulator/memcached"}, to: []string{"emulator/cloudtasks", "emulator/datastore", "emulator/console"}, tests: true,
			why: "the three servers stand alone"},
		{from: []string{"emulator/console"}, to: []string{"emulator/cloudtasks", "emulator/datastore", "emulator/memcached"},
			why: "the console reads the servers through interfaces of its own"},
		{from: []string{"memlock"}, to: []string{"tasks", "handlers", "examples"}, tests: true,
			why: "the lock is of use without the runner"},
		{from: []string{"tasks"}, to: []string{"handlers", "memlock", "examples", "internal/cli"},
			why: "imports point one way: handlers → tasks"},
		{from: []string{"handlers"}, to: []string{"examples", "internal/cli"},
			why: "imports point one way: internal/cli → handlers"},
		{from: []string{"examples"}, to: []string{"internal"},
			why: "an example is what a user could have written"},
	}
}

func TestImportsPointOneWay(t *testing.T) {
	for _, f := range sources(t) {
		for _, w := range walls() {
			if !within(f.room, w.from...) || f.test && !w.tests {
				continue
			}
			for _, imported := range f.imported() {
				if within(imported, w.to...) {
					t.Errorf("%s imports %s/%s: %s", f.path, module, imported, w.why)
				}
			}
		}
	}
}

// Only the entries of the program may know the commands: main, and Cloud Functions'
// own, which alone may know its framework.
func TestOnlyTheEntryKnowsTheCommands(t *testing.T) {
	for _, f := range sources(t) {
		if slices.Contains(f.imported(), "internal/cli") && !slices.Contains([]string{"", "function", "internal/cli"}, f.room) {
			t.Errorf("%s imports internal/cli: main and function alone do", f.path)
		}
		if f.room != "function" && slices.ContainsFunc(f.imports, func(imp string) bool {
			return strings.HasPrefix(imp, "github.com/GoogleCloudPlatform/functions-framework-go")
		}) {
			t.Errorf("%s imports functions-framework-go: it links nine modules, and function/ alone needs it", f.path)
		}
	}
}

// The lock alone links neither of Google's clients: who has a memcached needs
// nothing else.
func TestTheLockStandsAlone(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", module+"/memlock").Output()
	if err != nil {
		t.Fatalf("go list -deps memlock: %v", err)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		if within(dep, "cloud.google.com/go", "google.golang.org/grpc", module+"/memlock/datastorelock") {
			t.Errorf("memlock links %s: its stores over other services are packages of their own", dep)
		}
	}
}

// What a user's binary links by importing our library packages is ours to keep
// small: no test library, no command-line parser, no stand-in.
func TestLibraryPackagesLinkOnlyWhatTheyNeed(t *testing.T) {
	forbidden := map[string]string{
		"testing":                                               "test code in users' binaries",
		"github.com/google/go-cmp":                              "test code in users' binaries",
		"pgregory.net/rapid":                                    "test code in users' binaries",
		"github.com/rogpeppe/go-internal":                       "test code in users' binaries",
		"github.com/anishathalye/porcupine":                     "test code in users' binaries",
		"github.com/alecthomas/kong":                            "the command line belongs to internal/cli",
		"github.com/tidwall/btree":                              "the emulators' storage",
		"go.yaml.in/yaml":                                       "the emulators' configuration files",
		"github.com/GoogleCloudPlatform/functions-framework-go": "function/ alone needs it",
		module + "/emulator":                                    "production code never links its stand-ins",
		module + "/internal/cli":                                "the command line belongs to main",
	}
	for _, pkg := range []string{"memlock", "memlock/datastorelock", "tasks", "handlers", "handlers/auth"} {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", module+"/"+pkg).Output()
		if err != nil {
			t.Fatalf("go list -deps %s: %v", pkg, err)
		}
		deps := strings.Fields(string(out))
		if !slices.Contains(deps, module+"/"+pkg) {
			t.Fatalf("go list -deps %s does not list the package itself: %q", pkg, out)
		}
		for _, dep := range deps {
			for prefix, why := range forbidden {
				if within(dep, prefix) {
					t.Errorf("%s links %s: %s", pkg, dep, why)
				}
			}
		}
	}
}
