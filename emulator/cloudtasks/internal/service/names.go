package service

import "strings"

// Limits of the API, in bytes of the id.
const (
	maxQueueID = 100
	maxTaskID  = 500
)

func letterOrDigit(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// made reports whether s has 1 to limit bytes, all letters, digits or one of
// extra.
func made(s string, limit int, extra string) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for i := range len(s) {
		if !letterOrDigit(s[i]) && strings.IndexByte(extra, s[i]) < 0 {
			return false
		}
	}
	return true
}

// ValidLocation reports whether s is projects/P/locations/L.
func ValidLocation(s string) bool {
	rest, ok := strings.CutPrefix(s, "projects/")
	project, location, ok2 := strings.Cut(rest, "/locations/")
	return ok && ok2 && made(project, 100, "-:.") && made(location, 100, "-")
}

// validQueue reports whether s is projects/P/locations/L/queues/Q.
func validQueue(s string) bool {
	location, id, ok := strings.Cut(s, "/queues/")
	return ok && ValidLocation(location) && made(id, maxQueueID, "-")
}

// splitQueue returns the parts of a valid queue name.
func splitQueue(s string) (project, location, id string) {
	parts := strings.Split(s, "/")
	return parts[1], parts[3], parts[5]
}

// parseTask splits projects/P/locations/L/queues/Q/tasks/T. The error is the one
// for clients.
func parseTask(s string) (queue, id string, err error) {
	queue, id, ok := strings.Cut(s, "/tasks/")
	if !ok || !validQueue(queue) {
		return "", "", errTaskName()
	}
	if !made(id, maxTaskID, "-_") {
		return "", "", errTaskID(id)
	}
	return queue, id, nil
}
