// Package mask follows the paths of field masks, such as
// rate_limits.max_concurrent_dispatches, into messages of any type.
package mask
