package service

import (
	"context"
	"strings"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/genproto/googleapis/cloud/location"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/filter"
)

// defaultLocation stands for a project without queues.
const defaultLocation = "us-central1"

// RegisterMixins registers the services that every version has besides its own.
func (s *Service) RegisterMixins(r grpc.ServiceRegistrar) {
	longrunningpb.RegisterOperationsServer(r, operations{service: s})
	r.RegisterService(&locationsDesc, locations{service: s})
}

// locationsDesc is the generated package's own, which can be registered with a
// grpc.Server only.
var locationsDesc = grpc.ServiceDesc{
	ServiceName: "google.cloud.location.Locations",
	HandlerType: (*location.LocationsServer)(nil),
	Methods: []grpc.MethodDesc{
		{MethodName: "ListLocations", Handler: unary("ListLocations", location.LocationsServer.ListLocations)},
		{MethodName: "GetLocation", Handler: unary("GetLocation", location.LocationsServer.GetLocation)},
	},
	Metadata: "google/cloud/location/locations.proto",
}

func unary[Req, Resp any](name string, method func(location.LocationsServer, context.Context, *Req) (Resp, error)) grpc.MethodHandler {
	return func(server any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		request := new(Req)
		if err := decode(request); err != nil {
			return nil, err
		}
		call := func(ctx context.Context, r any) (any, error) {
			l, isServer := server.(location.LocationsServer)
			request, isRequest := r.(*Req)
			if !isServer || !isRequest {
				return nil, status.Errorf(codes.Internal, "%T of %T", r, server)
			}
			return method(l, ctx, request)
		}
		if intercept == nil {
			return call(ctx, request)
		}
		return intercept(ctx, request, &grpc.UnaryServerInfo{Server: server, FullMethod: "/google.cloud.location.Locations/" + name}, call)
	}
}

// MixinRules are the paths of the mixins under versions, such as v2.
func MixinRules(versions ...string) []*annotations.HttpRule {
	rule := func(selector, path string) *annotations.HttpRule {
		var all *annotations.HttpRule
		for _, version := range versions {
			one := &annotations.HttpRule{Selector: selector, Pattern: &annotations.HttpRule_Get{Get: "/" + version + path}}
			if all == nil {
				all = one
			} else {
				all.AdditionalBindings = append(all.AdditionalBindings, one)
			}
		}
		return all
	}
	return []*annotations.HttpRule{
		rule("google.longrunning.Operations.GetOperation", "/{name=projects/*/locations/*/operations/*}"),
		rule("google.cloud.location.Locations.ListLocations", "/{name=projects/*}/locations"),
		rule("google.cloud.location.Locations.GetLocation", "/{name=projects/*/locations/*}"),
	}
}

type operations struct {
	longrunningpb.UnimplementedOperationsServer
	service *Service
}

// GetOperation implements google.longrunning.
func (o operations) GetOperation(_ context.Context, r *longrunningpb.GetOperationRequest) (*longrunningpb.Operation, error) {
	return o.service.GetOperation(r.GetName())
}

type locations struct {
	location.UnimplementedLocationsServer
	service *Service
}

// GetLocation implements google.cloud.location: any location is there.
func (l locations) GetLocation(_ context.Context, r *location.GetLocationRequest) (*location.Location, error) {
	if !ValidLocation(r.GetName()) {
		return nil, Invalid(textLocationName)
	}
	return newLocation(r.GetName()), nil
}

// ListLocations implements google.cloud.location: those of the project's queues,
// or one if there are none.
func (l locations) ListLocations(_ context.Context, r *location.ListLocationsRequest) (*location.ListLocationsResponse, error) {
	if !ValidLocation(r.GetName() + "/locations/x") {
		return nil, Invalid(`Project name must be formatted: "projects/<PROJECT_ID>".`)
	}
	limit, err := Page{Size: r.GetPageSize()}.size(maxTasksPage)
	if err != nil {
		return nil, err
	}
	wanted, err := filter.Parse(r.GetFilter(), (*location.Location)(nil).ProtoReflect().Descriptor())
	if err != nil {
		return nil, Invalid("The filter is not understood %v.", err)
	}
	pages := l.service.list("locations of", r.GetName(), r.GetFilter())
	after, err := pages.open(r.GetPageToken())
	if err != nil {
		return nil, err
	}
	page := new(location.ListLocationsResponse)
	prefix := r.GetName() + "/locations/"
	for {
		// After the last queue of a location comes the first of the next one.
		queues, _, err := l.service.engine.ListQueues(prefix, after, 1)
		if err != nil {
			return nil, toStatus(err, verbOther)
		}
		if len(queues) == 0 {
			if after == "" {
				if m := newLocation(prefix + defaultLocation); wanted.Matches(m.ProtoReflect()) {
					page.Locations = append(page.Locations, m)
				}
			}
			return page, nil
		}
		if len(page.Locations) == limit {
			page.NextPageToken = pages.token(after)
			return page, nil
		}
		name, _, _ := strings.Cut(queues[0].Name, "/queues/")
		if m := newLocation(name); wanted.Matches(m.ProtoReflect()) {
			page.Locations = append(page.Locations, m)
		}
		after = name + "/queues0" // '0' comes after '/'
	}
}

func newLocation(name string) *location.Location {
	id := name[strings.LastIndexByte(name, '/')+1:]
	return &location.Location{
		Name: name, LocationId: id, DisplayName: id,
		Labels: map[string]string{"cloud.googleapis.com/region": id},
	}
}
