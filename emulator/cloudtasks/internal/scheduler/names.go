package scheduler

import "strings"

// Limits of the API.
const (
	maxJobID    = 500
	maxJobs     = 5000 // in a location
	maxJobsPage = 500
)

// made reports whether s has 1 to limit bytes, all letters, digits or one of
// extra.
func made(s string, limit int, extra string) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') && strings.IndexByte(extra, c) < 0 {
			return false
		}
	}
	return true
}

// validLocation reports whether s is projects/P/locations/L.
func validLocation(s string) bool {
	rest, ok := strings.CutPrefix(s, "projects/")
	project, location, ok2 := strings.Cut(rest, "/locations/")
	return ok && ok2 && made(project, 100, "-:.") && made(location, 100, "-")
}

// validJob reports whether s is projects/P/locations/L/jobs/J.
func validJob(s string) bool {
	location, id, ok := strings.Cut(s, "/jobs/")
	return ok && validLocation(location) && made(id, maxJobID, "-_")
}

// splitJob returns the project and the location of a valid job name.
func splitJob(s string) (project, location string) {
	parts := strings.Split(s, "/")
	return parts[1], parts[3]
}
