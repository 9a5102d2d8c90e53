package dispatchyaml

import (
	"net/netip"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/latchwork/latchwork/emulator/internal/appyaml"
)

const maxRules = 1000

// Rules are those of a dispatch.yaml, in their order.
type Rules []Rule

// A Rule sends the requests that fit its pattern to a service.
type Rule struct {
	Service    string
	host, path string
	anyHost    bool // host is the end of the name
	anyPath    bool // path is the beginning
}

// Parse reads the text of a dispatch.yaml. A file without rules is fine. An error
// is an appyaml.Error.
func Parse(text []byte) (Rules, error) {
	root, err := appyaml.Document(text)
	if err != nil || root == nil {
		return nil, err
	}
	top, err := appyaml.Fields(root, "the file", "dispatch", "application")
	if err != nil {
		return nil, err
	}
	list, err := top.List("dispatch")
	if err != nil {
		return nil, err
	}
	if len(list) > maxRules {
		return nil, appyaml.Errorf(list[maxRules], "there are %d rules: at most %d are supported", len(list), maxRules)
	}
	var rules Rules
	for _, n := range list {
		r, err := entry(n)
		if err != nil {
			return nil, err
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// Route returns the service of a request, "" if no rule fits.
func (rs Rules) Route(host, path string) (service string) {
	host = strings.ToLower(host)
	for _, r := range rs {
		if r.fits(host, path) {
			return r.Service
		}
	}
	return ""
}

func (r Rule) fits(host, path string) bool {
	if r.anyHost && !strings.HasSuffix(host, r.host) || !r.anyHost && host != r.host {
		return false
	}
	return r.anyPath && strings.HasPrefix(path, r.path) || path == r.path
}

// label is one part of a host name.
const label = `[a-z0-9]([a-z0-9-]*[a-z0-9])?`

func entry(n *yaml.Node) (r Rule, err error) {
	e, err := appyaml.Fields(n, "a rule", "url", "service", "module")
	if err != nil {
		return r, err
	}
	url, err := e.Need("url")
	if err != nil {
		return r, err
	}
	host, path, ok := strings.Cut(url, "/")
	if !ok || host == "" || strings.Contains(path, "\n") {
		return r, appyaml.Errorf(e.Get("url"), "url %q: must be a host and a path, such as */mobile/*", url)
	}
	r.host, r.anyHost = strings.CutPrefix(host, "*")
	r.path, r.anyPath = strings.CutSuffix("/"+path, "*")
	pattern := `^(` + label + `\.)*` + label + `$`
	if r.anyHost {
		pattern = `^([a-z0-9-]*[a-z0-9]|\.|[a-z0-9-]*[a-z0-9]\.)?((` + label + `\.)*` + label + `)?$`
	}
	_, notIP := netip.ParseAddr(r.host)
	if !regexp.MustCompile(pattern).MatchString(r.host) || strings.HasSuffix(r.host, ".") || notIP == nil && !r.anyHost {
		return r, appyaml.Errorf(e.Get("url"), "invalid host_pattern %q", host)
	}
	service, err := e.Text("service")
	if err != nil {
		return r, err
	}
	module, err := e.Text("module") // its older name
	if err != nil {
		return r, err
	}
	switch {
	case service != "" && module != "":
		return r, appyaml.Errorf(e.Get("module"), "a rule has a service or a module, which is the same, not both")
	case service+module == "":
		return r, &appyaml.Error{Line: e.Line(), Rule: "a rule lacks its service"}
	}
	r.Service = service + module
	if !regexp.MustCompile(`^[a-z\d][a-z\d-]{0,62}$`).MatchString(r.Service) {
		return r, appyaml.Errorf(n, "service %q: must be 1 to 63 lower-case letters, digits and hyphens", r.Service)
	}
	return r, nil
}
