package transcode_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/latchwork/latchwork/emulator/internal/wire/transcode"
	_ "google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	_ "google.golang.org/protobuf/types/known/durationpb"
	_ "google.golang.org/protobuf/types/known/fieldmaskpb"
	_ "google.golang.org/protobuf/types/known/structpb"
	_ "google.golang.org/protobuf/types/known/timestamppb"
	_ "google.golang.org/protobuf/types/known/wrapperspb"
)

// kitchen is a service with everything that annotations can say, over a message
// with every kind of field. All methods get and return a Dish.
const kitchen = `
name: "test/kitchen.proto" package: "test" syntax: "proto3"
dependency: "google/api/annotations.proto"
dependency: "google/protobuf/timestamp.proto"
dependency: "google/protobuf/duration.proto"
dependency: "google/protobuf/field_mask.proto"
dependency: "google/protobuf/struct.proto"
dependency: "google/protobuf/wrappers.proto"
enum_type { name: "Heat" value { name: "HEAT_UNSPECIFIED" number: 0 } value { name: "MILD" number: 1 } value { name: "HOT" number: 2 } }
message_type {
  name: "Dish"
  field { name: "name" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "is_hot" number: 2 type: TYPE_BOOL label: LABEL_OPTIONAL }
  field { name: "i32" number: 3 type: TYPE_INT32 label: LABEL_OPTIONAL }
  field { name: "i64" number: 4 type: TYPE_SINT64 label: LABEL_OPTIONAL }
  field { name: "u32" number: 5 type: TYPE_FIXED32 label: LABEL_OPTIONAL }
  field { name: "u64" number: 6 type: TYPE_UINT64 label: LABEL_OPTIONAL }
  field { name: "f32" number: 7 type: TYPE_FLOAT label: LABEL_OPTIONAL }
  field { name: "f64" number: 8 type: TYPE_DOUBLE label: LABEL_OPTIONAL }
  field { name: "raw" number: 9 type: TYPE_BYTES label: LABEL_OPTIONAL }
  field { name: "heat" number: 10 type: TYPE_ENUM type_name: ".test.Heat" label: LABEL_OPTIONAL }
  field { name: "tags" number: 11 type: TYPE_STRING label: LABEL_REPEATED }
  field { name: "heats" number: 12 type: TYPE_ENUM type_name: ".test.Heat" label: LABEL_REPEATED }
  field { name: "served" number: 13 type: TYPE_MESSAGE type_name: ".google.protobuf.Timestamp" label: LABEL_OPTIONAL }
  field { name: "takes" number: 14 type: TYPE_MESSAGE type_name: ".google.protobuf.Duration" label: LABEL_OPTIONAL }
  field { name: "update_mask" number: 15 type: TYPE_MESSAGE type_name: ".google.protobuf.FieldMask" label: LABEL_OPTIONAL }
  field { name: "maybe" number: 16 type: TYPE_MESSAGE type_name: ".google.protobuf.Int64Value" label: LABEL_OPTIONAL }
  field { name: "side" number: 17 type: TYPE_MESSAGE type_name: ".test.Dish" label: LABEL_OPTIONAL }
  field { name: "sides" number: 18 type: TYPE_MESSAGE type_name: ".test.Dish" label: LABEL_REPEATED }
  field { name: "sauces" number: 19 type: TYPE_MESSAGE type_name: ".test.Dish.SaucesEntry" label: LABEL_REPEATED }
  field { name: "red" number: 20 type: TYPE_STRING label: LABEL_OPTIONAL oneof_index: 0 }
  field { name: "white" number: 21 type: TYPE_STRING label: LABEL_OPTIONAL oneof_index: 0 }
  field { name: "notes" number: 22 type: TYPE_MESSAGE type_name: ".google.protobuf.Struct" label: LABEL_OPTIONAL }
  field { name: "times" number: 23 type: TYPE_MESSAGE type_name: ".google.protobuf.Duration" label: LABEL_REPEATED }
  nested_type {
    name: "SaucesEntry" options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
    field { name: "value" number: 2 type: TYPE_MESSAGE type_name: ".test.Dish" label: LABEL_OPTIONAL }
  }
  oneof_decl { name: "wine" }
}
service {
  name: "Kitchen"
  method { name: "Get" input_type: ".test.Dish" output_type: ".test.Dish"
    options { [google.api.http] { get: "/v1/{name=dishes/*}" additional_bindings { get: "/v1/tables/{i32}/{heat}" } } } }
  method { name: "List" input_type: ".test.Dish" output_type: ".test.Dish"
    options { [google.api.http] { get: "/v1/dishes" response_body: "sides" } } }
  method { name: "Cook" input_type: ".test.Dish" output_type: ".test.Dish"
    options { [google.api.http] { post: "/v1/{name=dishes/*}:cook" body: "*" } } }
  method { name: "Update" input_type: ".test.Dish" output_type: ".test.Dish"
    options { [google.api.http] { patch: "/v1/{side.name=dishes/*}" body: "side" response_body: "side" } } }
  method { name: "Tag" input_type: ".test.Dish" output_type: ".test.Dish"
    options { [google.api.http] { put: "/v1/{name=dishes/*}/tags" body: "tags" response_body: "tags" } } }
  method { name: "Delete" input_type: ".test.Dish" output_type: ".test.Dish"
    options { [google.api.http] { delete: "/v1/{name=dishes/*}" } } }
  method { name: "Sniff" input_type: ".test.Dish" output_type: ".test.Dish"
    options { [google.api.http] { custom { kind: "*" path: "/v1/{name=sniff/**}" } } } }
  method { name: "First" input_type: ".test.Dish" output_type: ".test.Dish"
    options { [google.api.http] { get: "/v1/dishes/first" } } }
  method { name: "Hidden" input_type: ".test.Dish" output_type: ".test.Dish" }
}`

// dish links the kitchen and describes its message.
var dish = sync.OnceValue(func() protoreflect.MessageDescriptor {
	var p descriptorpb.FileDescriptorProto
	if err := prototext.Unmarshal([]byte(kitchen), &p); err != nil {
		panic(err)
	}
	file, err := protodesc.NewFile(&p, protoregistry.GlobalFiles)
	if err == nil {
		err = protoregistry.GlobalFiles.RegisterFile(file)
	}
	if err != nil {
		panic(err)
	}
	return file.Messages().ByName("Dish")
})

type serve func(ctx context.Context, method string, dish proto.Message) (proto.Message, error)

// describe returns the kitchen as generated code would, with one function
// behind all methods.
func describe(f serve) *grpc.ServiceDesc {
	md := dish()
	d := &grpc.ServiceDesc{ServiceName: "test.Kitchen", HandlerType: (*any)(nil)}
	for _, name := range []string{"Get", "List", "Cook", "Update", "Tag", "Delete", "Sniff", "First", "Hidden"} {
		d.Methods = append(d.Methods, grpc.MethodDesc{MethodName: name,
			Handler: func(_ any, ctx context.Context, dec func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
				in := dynamicpb.NewMessage(md)
				if err := dec(in); err != nil {
					return nil, err
				}
				return intercept(ctx, in, &grpc.UnaryServerInfo{FullMethod: "/test.Kitchen/" + name},
					func(ctx context.Context, req any) (any, error) { return f(ctx, name, req.(proto.Message)) })
			}})
	}
	return d
}

func open(t testing.TB, o *transcode.Options, f serve) http.Handler {
	t.Helper()
	h, err := transcode.New(o, func(r grpc.ServiceRegistrar) { r.RegisterService(describe(f), nil) })
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func echo(_ context.Context, _ string, in proto.Message) (proto.Message, error) { return in, nil }

// send makes a request; headers are names and values in turn.
func send(t testing.TB, h http.Handler, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, io.Reader(strings.NewReader(body)))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
