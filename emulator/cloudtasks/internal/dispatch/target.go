package dispatch

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/protobuf/proto"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/engine"
)

// targetURL is the URL of a task as its queue overrides it, also as the text
// that stands for it as an audience.
func targetURL(text string, o *cloudtaskspb.UriOverride) (*url.URL, string, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, "", err
	}
	if o != nil {
		override(u, o)
	}
	if u.Hostname() == "" {
		return nil, "", errors.New("the URL has no host")
	}
	if u.Fragment, u.RawFragment = "", ""; o != nil {
		text = u.String()
	}
	u.RawQuery = encoded(u.RawQuery)
	return u, text, nil
}

// override replaces the parts of u that o has or, in the mode IF_NOT_EXISTS,
// adds those that u lacks.
func override(u *url.URL, o *cloudtaskspb.UriOverride) {
	missing := o.GetUriOverrideEnforceMode() == cloudtaskspb.UriOverride_IF_NOT_EXISTS
	may := func(has bool) bool { return !missing || !has }
	if o.Scheme != nil && may(u.Scheme != "") {
		switch o.GetScheme() {
		case cloudtaskspb.UriOverride_HTTP:
			u.Scheme = "http"
		case cloudtaskspb.UriOverride_HTTPS:
			u.Scheme = "https"
		}
	}
	u.Scheme = cmp.Or(u.Scheme, "https") // of tasks that have no URL of their own
	host, port := u.Hostname(), u.Port()
	if o.Host != nil && may(host != "") {
		host = strings.Trim(o.GetHost(), "[]")
	}
	if o.Port != nil && may(port != "") {
		port = ""
		if o.GetPort() > 0 {
			port = strconv.FormatInt(o.GetPort(), 10)
		}
	}
	switch {
	case port != "":
		u.Host = net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		u.Host = "[" + host + "]"
	default:
		u.Host = host
	}
	if o.PathOverride != nil && may(u.Path != "" && u.Path != "/") {
		setPath(u, o.GetPathOverride().GetPath())
	}
	if o.QueryOverride != nil && may(u.RawQuery != "") {
		u.RawQuery, u.ForceQuery = o.GetQueryOverride().GetQueryParams(), false
	}
}

// setPath takes a path with or without escapes, and with or without its first
// slash.
func setPath(u *url.URL, path string) {
	if path != "" && path[0] != '/' {
		path = "/" + path
	}
	u.Path, u.RawPath = path, ""
	path = encoded(path)
	if plain, err := url.PathUnescape(path); err == nil {
		u.Path, u.RawPath = plain, path
	}
}

// encoded escapes what would break a request line.
func encoded(text string) string {
	bad := func(c byte) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' }
	n := 0
	for i := range len(text) {
		if bad(text[i]) {
			n++
		}
	}
	if n == 0 {
		return text
	}
	b := make([]byte, 0, len(text)+2*n)
	for i := range len(text) {
		if c := text[i]; bad(c) {
			b = fmt.Appendf(b, "%%%02X", c)
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

// address finds what stands in for the App Engine instance, version or service
// that a task goes to: the most specific that is configured, else the default.
func (d *Dispatcher) address(r *cloudtaskspb.AppEngineRouting, uri string) (address, service string, ok bool) {
	service = r.GetService()
	if service == "" && d.Route != nil {
		path, _, _ := strings.Cut(uri, "?")
		service = d.Route(r.GetHost(), path)
	}
	service = cmp.Or(service, "default")
	parts := slices.DeleteFunc([]string{r.GetInstance(), r.GetVersion(), service}, func(s string) bool { return s == "" })
	for ; len(parts) > 0; parts = parts[1:] {
		if address, ok = d.AppEngine[strings.Join(parts, ".")]; ok {
			return address, service, true
		}
	}
	address, ok = d.AppEngine[""]
	return address, service, ok
}

// maxSpecs bounds the queues that are kept decoded.
const maxSpecs = 4096

// specs are the queues of recent deliveries, decoded.
type specs struct {
	mu     sync.Mutex
	byName map[string]spec
}

type spec struct {
	text  []byte
	queue *cloudtaskspb.Queue // not to be changed
}

// queue decodes the queue of a delivery. The engine replaces a spec that changes,
// so the same memory holds the same queue.
func (s *specs) queue(a *engine.Delivery) (*cloudtaskspb.Queue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.byName[a.Queue]; ok && same(known.text, a.QueueSpec) {
		return known.queue, nil
	}
	q := new(cloudtaskspb.Queue)
	if err := proto.Unmarshal(a.QueueSpec, q); err != nil {
		return nil, fmt.Errorf("%w: stored queue: %v", errInternal, err)
	}
	if s.byName == nil || len(s.byName) >= maxSpecs {
		s.byName = make(map[string]spec)
	}
	s.byName[a.Queue] = spec{a.QueueSpec, q}
	return q, nil
}

// same reports whether a and b are the same memory.
func same(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
