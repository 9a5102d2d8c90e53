package apiserver

import (
	"encoding/json"
	"fmt"

	_ "google.golang.org/appengine/v2/memcache" // registers the types
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// The SDK keeps its protobuf types to itself, but registers them: they are found
// by name, and go to and from the structs below by way of their JSON form.

type remoteRequest struct {
	ServiceName string `json:"serviceName"`
	Method      string `json:"method"`
	Request     []byte `json:"request"`
}

type remoteResponse struct {
	Response []byte    `json:"response,omitempty"`
	RPCError *rpcError `json:"rpcError,omitempty"`
}

type rpcError struct {
	Code   int    `json:"code"`
	Detail string `json:"detail"`
}

// Codes of the bridge's own errors.
const (
	callNotFound = 1
	parseError   = 2
)

type getRequest struct {
	Key       [][]byte `json:"key"`
	NameSpace string   `json:"nameSpace"`
	ForCas    bool     `json:"forCas"`
}

type getResponse struct {
	Item []getItem `json:"item,omitempty"`
}

type getItem struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value"`
	Flags uint32 `json:"flags,omitempty"`
	CasID uint64 `json:"casId,omitempty,string"`
}

type setRequest struct {
	Item      []setItem `json:"item"`
	NameSpace string    `json:"nameSpace"`
}

type setItem struct {
	Key            []byte `json:"key"`
	Value          []byte `json:"value"`
	Flags          uint32 `json:"flags"`
	SetPolicy      string `json:"setPolicy"`
	ExpirationTime uint32 `json:"expirationTime"`
	CasID          uint64 `json:"casId,string"`
	ForCas         bool   `json:"forCas"`
}

type setResponse struct {
	SetStatus []string `json:"setStatus,omitempty"`
}

type deleteRequest struct {
	Item []struct {
		Key []byte `json:"key"`
	} `json:"item"`
	NameSpace string `json:"nameSpace"`
}

type deleteResponse struct {
	DeleteStatus []string `json:"deleteStatus,omitempty"`
}

type statsResponse struct {
	Stats stats `json:"stats"`
}

type stats struct {
	Hits          uint64 `json:"hits,string"`
	Misses        uint64 `json:"misses,string"`
	ByteHits      uint64 `json:"byteHits,string"`
	Items         uint64 `json:"items,string"`
	Bytes         uint64 `json:"bytes,string"`
	OldestItemAge uint32 `json:"oldestItemAge"`
}

// handle decodes the request of a method, has it performed, and encodes the
// answer in its envelope.
func handle[Q, A any](req *remoteRequest, method protoreflect.FullName, do func(Q) A) []byte {
	var q Q
	if err := decode("appengine.v2."+method+"Request", req.Request, &q); err != nil {
		return failed(parseError, err.Error())
	}
	response, err := encode("appengine.v2."+method+"Response", do(q))
	if err != nil {
		return failed(parseError, err.Error())
	}
	return envelope(remoteResponse{Response: response})
}

func failed(code int, detail string) []byte {
	return envelope(remoteResponse{RPCError: &rpcError{code, detail}})
}

func envelope(r remoteResponse) []byte {
	b, err := encode("remote_api.v2.Response", r)
	if err != nil { // the caller will say that it can't be parsed
		return []byte(err.Error())
	}
	return b
}

func decode(name protoreflect.FullName, data []byte, into any) error {
	m, err := message(name)
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(data, m); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	text, err := protojson.Marshal(m)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return json.Unmarshal(text, into)
}

func encode(name protoreflect.FullName, from any) ([]byte, error) {
	m, err := message(name)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(from)
	if err != nil {
		return nil, err
	}
	if err := protojson.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return proto.Marshal(m)
}

func message(name protoreflect.FullName) (proto.Message, error) {
	t, err := protoregistry.GlobalTypes.FindMessageByName(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: is the SDK linked?", name, err)
	}
	return t.New().Interface(), nil
}
