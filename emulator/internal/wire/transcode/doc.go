// Package transcode serves gRPC services over HTTP/1.1 as Google's APIs do: the
// google.api.http annotations of their linked descriptors say which path, query
// and body make which request, and answers are proto JSON or binary protobuf.
//
// What a request may hold:
//
//   - a path as the template says, the template's fields percent-encoded; a
//     field that stands in the path and in the body must be the same in both;
//   - a body of the method's body field, or of the whole request: JSON (also
//     when no Content-Type is given), or protobuf as application/x-protobuf,
//     either of them gzipped;
//   - where the body is not the whole request, further fields as query
//     parameters, in camelCase or as declared, nested ones with dots: scalars,
//     enums by name or number, bytes as base64, timestamps, durations, field
//     masks and wrappers; repeated ones as repeated parameters;
//   - alt or $alt: json, json;enum-encoding=int, proto; prettyPrint; parameters
//     of credentials and quotas, which say nothing here; X-HTTP-Method-Override
//     with POST; X-Server-Timeout in seconds.
//
// Paths that no annotation can say, or whose bodies are of any form, are the
// caller's to recognize and Handler.Raw's to answer.
//
// # Guarantees
//
//   - The same handler and the same interceptors as over gRPC, in process; the
//     headers are the call's metadata.
//   - Every error is answered as Google does: in the dialect of the answer
//     ({"error":{code, message, status, details}}, or google.rpc.Status), with
//     the HTTP status of its gRPC code. That includes paths that are no
//     method's and methods that a path doesn't have: both are 404, as on
//     Google's servers, which don't answer 405.
//   - What is not understood is refused: unknown names in bodies and queries,
//     other content types, partial answers ($fields), JSONP.
//   - Bodies are bounded by wire.MaxMessage, after decompression too; quotations
//     in errors, the depth of field paths and the time for writing an answer are
//     bounded as well. A request that waits ends when its client has gone.
//
// # Not guaranteed
//
// Streaming methods are not served. Answers are gzipped only from 16 KiB on:
// Google's Java client asks for it always, and on one machine it costs more
// than it saves.
package transcode
