// Package v2 serves google.cloud.tasks.v2. Its messages are those of package
// service, so it has little to do.
package v2
