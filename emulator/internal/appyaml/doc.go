// Package appyaml reads the YAML of App Engine's configuration files: fields that
// are known, of the kinds they should have.
//
// # Guarantees
//
//   - An error names the line and the rule, and quotes at most 200 bytes.
//   - Fields that a mapping doesn't have, fields that come twice, aliases and
//     second documents are refused, so that a slip of the pen isn't a default.
//   - Truth values are those of YAML 1.1 (yes, on), as App Engine's own reader
//     takes them.
package appyaml
