package standin

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// A Cloud is what the stand-in keeps in a file: what commands list, and
// the commands that were given, apart from those that look.
type Cloud struct {
	Lists    map[string][]string // by the command that lists: its lines
	Commands []string
	Fail     string // the beginning of the command that is denied
}

// Load reads what a file keeps.
func Load(file string) (Cloud, error) {
	c := Cloud{Lists: map[string][]string{}}
	text, err := os.ReadFile(file)
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(text, &c)
}

// Save writes it to the file.
func (c Cloud) Save(file string) error {
	if c.Lists == nil {
		c.Lists = map[string][]string{}
	}
	text, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

// has adds a line to what a command lists, in place of one that begins alike.
func (c Cloud) has(list, line string) {
	key, _, _ := strings.Cut(line, "\t")
	c.Lists[list] = slices.DeleteFunc(c.Lists[list], func(l string) bool { return l == line || strings.HasPrefix(l, key+"\t") })
	c.Lists[list] = append(c.Lists[list], line)
}

// Run does what the program, gcloud or go, would, as far as the commands of the
// deploys show it; a command that it doesn't know is an error.
func Run(file, program string, args []string, stdout io.Writer) error {
	c, err := Load(file)
	if err != nil {
		return err
	}
	flags, words := map[string]string{}, []string{}
	for _, a := range args {
		if name, value, ok := strings.Cut(a, "="); ok && strings.HasPrefix(a, "--") {
			flags[name] = value
		} else if !strings.HasPrefix(a, "--") {
			words = append(words, a)
		}
	}
	line := strings.Join(words, " ")
	is := func(prefix string) bool { return line == prefix || strings.HasPrefix(line, prefix+" ") }

	looks := true
	switch {
	case program == "go":
		looks = false
	case is("config get-value project"):
		fmt.Fprintln(stdout, strings.Join(c.Lists["project"], "\n"))
	case is("projects describe"):
		fmt.Fprintln(stdout, "123456789012")
	case is("app describe"):
		if len(c.Lists["app"]) == 0 {
			return fmt.Errorf("(gcloud.app.describe) The current Google Cloud project [%s] does not contain an App Engine application", flags["--project"])
		}
		fmt.Fprintln(stdout, strings.Join(c.Lists["app"], "\n"))
	case is("run services get-iam-policy"):
		if len(c.Lists["run services list"]) == 0 {
			return fmt.Errorf("(gcloud.run.services.get-iam-policy) NOT_FOUND: Resource 'x' of kind 'SERVICE' does not exist")
		}
		fmt.Fprintln(stdout, strings.Join(c.Lists["invokers"], "\n"))
	case is("iam service-accounts list"), is("firestore databases list"), is("firestore fields ttls list"), is("artifacts repositories list"), is("scheduler jobs list"):
		fmt.Fprintln(stdout, strings.Join(c.Lists[line], "\n"))
	default:
		looks = false
	}
	if looks {
		return nil
	}
	c.Commands = append(c.Commands, strings.Join(append([]string{program}, args...), " "))
	if c.Fail != "" && is(c.Fail) {
		if err := c.Save(file); err != nil {
			return err
		}
		return fmt.Errorf("(gcloud.%s) PERMISSION_DENIED: Permission denied on resource project %s", line, flags["--project"])
	}

	last := words[len(words)-1]
	switch {
	case program == "go":
	case is("services enable"):
		for _, api := range words[2:] {
			c.has("services", api)
		}
	case is("app create"):
		c.has("app", flags["--project"]+"\t"+flags["--region"])
	case is("iam service-accounts create"):
		c.has("iam service-accounts list", last+"@"+flags["--project"]+".iam.gserviceaccount.com")
	case is("projects add-iam-policy-binding"), is("iam service-accounts add-iam-policy-binding"):
		c.has("policy", last+" "+flags["--role"]+" "+flags["--member"])
	case is("firestore databases create"):
		c.has("firestore databases list", flags["--database"]+"\tDATASTORE_MODE")
	case is("firestore fields ttls update"):
		c.has("firestore fields ttls list", fmt.Sprintf("projects/%s/databases/%s/collectionGroups/%s/fields/%s", flags["--project"], flags["--database"], flags["--collection-group"], last))
	case is("datastore indexes create"):
		c.has("indexes", last)
	case is("artifacts repositories create"):
		c.has("artifacts repositories list", last)
	case is("builds submit"), is("run services replace"), is("functions deploy"), is("app deploy"):
		c.has("run services list", "deployed")
		if slices.Contains(args, "--allow-unauthenticated") {
			c.has("invokers", "allUsers\troles/run.invoker")
		}
	case is("run services add-iam-policy-binding"):
		c.has("invokers", flags["--member"]+"\t"+flags["--role"])
	case is("run services remove-iam-policy-binding"):
		c.Lists["invokers"] = slices.DeleteFunc(c.Lists["invokers"], func(l string) bool { return l == flags["--member"]+"\t"+flags["--role"] })
	case is("scheduler jobs create http"), is("scheduler jobs update http"):
		there := slices.ContainsFunc(c.Lists["scheduler jobs list"], func(l string) bool { return strings.HasPrefix(l, last+"\t") })
		if there != is("scheduler jobs update http") {
			return fmt.Errorf("the job %s: there is %v", last, there)
		}
		c.has("scheduler jobs list", strings.Join([]string{last, flags["--schedule"], flags["--uri"], flags["--oidc-service-account-email"], flags["--oidc-token-audience"]}, "\t"))
	default:
		return fmt.Errorf("the stand-in for gcloud doesn't know: %s", line)
	}
	return c.Save(file)
}
