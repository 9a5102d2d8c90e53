package datastore

import (
	"io"
	"net/http"
	"strconv"
	"strings"
)

// badBody is how both of Google's emulators word bodies that are no message.
const badBody = "Payload isn't valid for request."

// endpoints is the HTTP/1.1 side: the API under /v1/, and beside it what
// Google's emulators have, in their words.
func (s *Server) endpoints(api http.Handler, shutdown func()) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "Ok\n")
	})
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.service.Reset(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, "Resetting...\n")
	})
	if shutdown != nil {
		mux.HandleFunc("POST /shutdown", func(w http.ResponseWriter, _ *http.Request) {
			const answer = "Shutting down...\n"
			// The whole answer is on its way before the connections end.
			w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
			_, _ = io.WriteString(w, answer)
			_ = http.NewResponseController(w).Flush()
			shutdown()
		})
	}
	mux.HandleFunc("POST /emulator/v1/projects/{action}", s.admin.Emulator)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "Not Found", http.StatusNotFound)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A mux would redirect paths that aren't clean; clients of the API are
		// to get an answer in their dialect.
		if strings.HasPrefix(r.URL.EscapedPath(), "/v1/") {
			api.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}
