package main

import (
	"maps"
	"slices"

	"github.com/openbao/openbao/sdk/v2/helper/consts"
	"github.com/openbao/openbao/sdk/v2/logical"
)

// registry tells the core which plugins are built in.
type registry map[consts.PluginType]map[string]logical.Factory

func (r registry) Contains(name string, t consts.PluginType) bool { return r[t][name] != nil }

func (r registry) Get(name string, t consts.PluginType) (func() (any, error), bool) {
	factory := r[t][name]
	return func() (any, error) { return factory, nil }, factory != nil
}

func (r registry) Keys(t consts.PluginType) []string { return slices.Sorted(maps.Keys(r[t])) }

func (r registry) DeprecationStatus(name string, t consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, r.Contains(name, t)
}
