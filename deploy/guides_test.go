package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// guides are the documents of the deploys, each with the plans that it speaks of.
var guides = map[string][]string{
	"../docs/deploy-app-engine.md": {"app-engine"},
	"../docs/deploy-cloud-run.md":  {"cloud-run", "cloud-run-iam"},
	"../docs/deploy-function.md":   {"function", "function-iam"},
}

func guide(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// plans are those of a guide, with the service's usual name.
func plans(t *testing.T, file string) [][]step {
	t.Helper()
	var found [][]step
	for _, name := range guides[file] {
		d := deployments[name]
		w, _ := worldOf(map[string]string{"DRY_RUN": "1", "LATCHWORK_AUTH": d.env["LATCHWORK_AUTH"]}, "")
		c, err := configure(t.Context(), d.target, w)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, plan(c))
	}
	return found
}

var role = regexp.MustCompile(`roles/[A-Za-z.]+[A-Za-z]`)

// The lists of steps and of roles in the guides are those of the plans: -update
// writes them.
func TestGuidesTellThePlans(t *testing.T) {
	for file := range guides {
		text := guide(t, file)
		var steps, roles strings.Builder
		plans := plans(t, file)
		var conditional []string // of the other mode only
		for i, s := range plans[0] {
			fmt.Fprintf(&steps, "%d. %s\n", i+1, s.why)
		}
		for _, p := range plans[1:] {
			for _, s := range p {
				if !slices.ContainsFunc(plans[0], func(first step) bool { return first.why == s.why }) {
					conditional = append(conditional, s.why)
				}
			}
		}
		if len(conditional) > 0 {
			fmt.Fprintf(&steps, "\nWith `LATCHWORK_AUTH=cloud-run-iam`, in place of the public's: %s\n", strings.Join(conditional, " "))
		}

		fmt.Fprintln(&roles, "| role | whose | |\n|---|---|---|")
		var deployer []string
		for _, p := range plans {
			for _, s := range p {
				member, given := "", ""
				for _, a := range s.do.args {
					if v, ok := strings.CutPrefix(a, "--member="); ok {
						member = strings.TrimSuffix(strings.TrimPrefix(v, "serviceAccount:"), "@my-project.iam.gserviceaccount.com")
					}
					if v, ok := strings.CutPrefix(a, "--role="); ok {
						given = v
					}
				}
				line := fmt.Sprintf("| `%s` | `%s` | %s |\n", given, member, s.why)
				if given != "" && !s.unwanted && !strings.Contains(roles.String(), line) {
					roles.WriteString(line)
				}
				for _, r := range role.FindAllString(s.remedy, -1) {
					if !slices.Contains(deployer, r) {
						deployer = append(deployer, r)
					}
				}
			}
		}
		slices.Sort(deployer)
		fmt.Fprintf(&roles, "\nWho deploys needs: `%s`; or `roles/owner`.\n", strings.Join(slices.DeleteFunc(deployer, func(r string) bool { return r == "roles/owner" }), "`, `"))

		want := text
		for name, list := range map[string]string{"steps": steps.String(), "roles": roles.String()} {
			block := regexp.MustCompile(`(?s)<!-- ` + name + ` -->\n.*<!-- /` + name + ` -->`)
			if !block.MatchString(want) {
				t.Fatalf("%s has no block %s", file, name)
			}
			want = block.ReplaceAllLiteralString(want, "<!-- "+name+" -->\n"+list+"<!-- /"+name+" -->")
		}
		if want == text {
			continue
		}
		if !*update {
			t.Errorf("%s doesn't tell what the plan does: go test ./deploy -run Guides -update", file)
			continue
		}
		if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// commands are the lines of a guide's sh blocks.
func guideCommands(t *testing.T, file string) []string {
	t.Helper()
	var found []string
	for _, m := range regexp.MustCompile("(?ms)^ *```sh\n(.*?)^ *```$").FindAllStringSubmatch(guide(t, file), -1) {
		for line := range strings.Lines(m[1]) {
			line, _, _ = strings.Cut(line, " #")
			found = append(found, strings.TrimSpace(line))
		}
	}
	if len(found) < 8 {
		t.Fatalf("%s has %d commands: the pattern is broken", file, len(found))
	}
	return found
}

// The guides' commands exist: targets of the Makefile, commands of the program,
// variables that the deploy reads. Those of gcloud are shown to gcloud's own parser
// by TestGcloudKnowsTheCommands.
func TestGuidesCommands(t *testing.T) {
	makefile := guide(t, "../Makefile")
	help := guide(t, "../testdata/script/help.txtar")
	config := guide(t, "config.go")
	for file := range guides {
		for _, line := range guideCommands(t, file) {
			words := strings.Fields(line)
			switch {
			case words[0] == "make":
				if !strings.Contains(makefile, "\n"+words[1]+": ##") {
					t.Errorf("%s: the Makefile has no target for %s", file, line)
				}
			case strings.HasPrefix(line, "go run . "):
				if !strings.Contains(help, "stdout '"+words[3]) {
					t.Errorf("%s: the program has no command for %s", file, line)
				}
			case words[0] == "export":
				for _, assignment := range words[1:] {
					if name, _, _ := strings.Cut(assignment, "="); !strings.Contains(config, `w.getenv("`+name+`")`) {
						t.Errorf("%s: the deploy doesn't read %s", file, name)
					}
				}
			case words[0] != "gcloud":
				t.Errorf("%s: nobody checks the command %s", file, line)
			}
		}
		for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\|").FindAllStringSubmatch(guide(t, file), -1) {
			if !strings.Contains(config, `w.getenv("`+m[1]+`")`) {
				t.Errorf("%s: the deploy doesn't read %s", file, m[1])
			}
		}
	}
}

// Each guide ends with what could not be followed offline.
func TestGuidesEndHonestly(t *testing.T) {
	for file := range guides {
		headings := regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(guide(t, file), -1)
		if last := headings[len(headings)-1][1]; last != "What needs a Google project" {
			t.Errorf("%s ends with %q", file, last)
		}
	}
}
