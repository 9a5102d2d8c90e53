// Package texts words errors about what clients sent, which may be megabytes:
// an error goes into an HTTP/2 header, and a large one ends the connection.
package texts
