package fault

import (
	"io"
	"net/http"
)

// Transport returns next (nil: http.DefaultTransport) with the script in its way.
func (s *Script) Transport(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return transport{s, next}
}

type transport struct {
	script *Script
	next   http.RoundTripper
}

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	var resp *http.Response
	sent := false
	_, err := t.script.run(r.Context(), []string{r.Method + " " + r.URL.Path}, func() (err error) {
		sent = true
		resp, err = t.next.RoundTrip(r) //nolint:bodyclose // the caller closes it, or the lines below
		return err
	})
	if !sent && r.Body != nil {
		r.Body.Close() // a RoundTripper must, even when it fails
	}
	if err != nil && resp != nil {
		// The request is over when its answer has been read.
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return nil, err
	}
	return resp, err
}

// CloseIdleConnections passes on what http.Client.CloseIdleConnections asks for.
func (t transport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
