//go:build unix

package dispatch

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"
)

// BenchmarkTransport is one small request over a kept connection, to a target
// that costs next to nothing.
func BenchmarkTransport(b *testing.B) {
	own := NewTransport(10)
	for name, transport := range map[string]http.RoundTripper{"own": own, "net/http": own.(*direct).base} {
		b.Run(name, func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						defer c.Close()
						for buf := make([]byte, 4<<10); ; {
							if _, err := c.Read(buf); err != nil { // all of a request
								return
							}
							if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
								return
							}
						}
					}()
				}
			}()
			url, body := "http://"+l.Addr().String(), make([]byte, 100)
			b.ReportAllocs()
			for b.Loop() {
				r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, bytes.NewReader(body))
				if err != nil {
					b.Fatal(err)
				}
				answer, err := transport.RoundTrip(r)
				if err != nil {
					b.Fatal(err)
				}
				if err := discard(answer.Body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
