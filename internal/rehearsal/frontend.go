package rehearsal

import "net/http"

// FrontEnd is what stands before a service: a transport for the emulator's
// deliveries, which takes those to https://host to the process that listens at addr,
// as plain HTTP, with the host that was asked for. All others go where they say.
func FrontEnd(host, addr string) http.RoundTripper {
	return frontEnd{host, addr, &http.Transport{MaxIdleConnsPerHost: 100}}
}

type frontEnd struct {
	host, addr string
	*http.Transport
}

// RoundTrip implements http.RoundTripper.
func (f frontEnd) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != f.host {
		return f.Transport.RoundTrip(r)
	}
	inside := r.Clone(r.Context())
	inside.Host, inside.URL.Scheme, inside.URL.Host = f.host, "http", f.addr
	return f.Transport.RoundTrip(inside)
}
