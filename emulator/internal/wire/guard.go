package wire

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Guard closes h to web pages. It answers 403, naming the rule, to a request
// whose Host is neither a loopback name nor an IP literal nor in allowHosts, and
// to one that a page of another origin made; following a link from elsewhere is
// allowed. Bodies are bounded by MaxMessage. A nil h answers 404.
func Guard(h http.Handler, allowHosts []string) http.Handler {
	if h == nil {
		h = http.NotFoundHandler()
	}
	h = http.MaxBytesHandler(h, MaxMessage)
	allowed := map[string]bool{}
	for _, host := range allowHosts {
		allowed[hostname(host)] = true
	}
	origin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !hostAllowed(r.Host, allowed) {
			refuse(w, fmt.Sprintf("Host %q is refused: it must be localhost, an IP address, or allowed by --allow-host", r.Host))
			return
		}
		// Reads are held to the rule for writes: pages have no business here.
		probe := &http.Request{Method: http.MethodPost, Host: r.Host, Header: r.Header, URL: r.URL}
		if err := origin.Check(probe); err != nil && !followsLink(r) {
			refuse(w, fmt.Sprintf("cross-origin request refused (Origin %q, Sec-Fetch-Site %q): web pages may not use an emulator",
				r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site")))
			return
		}
		h.ServeHTTP(w, r)
	})
}

func refuse(w http.ResponseWriter, rule string) {
	http.Error(w, rule, http.StatusForbidden)
}

// followsLink reports whether the user went to this page, as opposed to a page
// having fetched or framed it.
func followsLink(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) &&
		r.Header.Get("Sec-Fetch-Mode") == "navigate" &&
		r.Header.Get("Sec-Fetch-Dest") == "document" &&
		r.Header.Get("Origin") == ""
}

// hostAllowed accepts a missing Host too (HTTP/1.0): no browser leaves it out.
func hostAllowed(host string, allowed map[string]bool) bool {
	name := hostname(host)
	if name == "" || name == "localhost" || strings.HasSuffix(name, ".localhost") || allowed[name] {
		return true
	}
	_, err := netip.ParseAddr(name)
	return err == nil
}

// hostname strips the port, brackets, a final dot and capitals.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
