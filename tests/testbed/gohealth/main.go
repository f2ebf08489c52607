// What other tools make of a resource, by their own code: kstatus (Flux, kpt) and a health check of Argo CD.
//
// Standard input is one JSON document after the other, each an object of Kubernetes; for each a line of JSON is written.
// Without an argument it has what kstatus computes; with the path of a Lua script, what that script returns where Argo
// CD runs it (util/lua/lua.go of Argo CD: the same interpreter, no other libraries, one second).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	luajson "layeh.com/gopher-json"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func main() {
	check := kstatus
	if len(os.Args) > 1 {
		script, err := os.ReadFile(os.Args[1])
		exitOn(err)
		check = func(object *unstructured.Unstructured) (verdict, error) { return argo(object, string(script)) }
	}
	documents := json.NewDecoder(os.Stdin)
	for {
		var raw json.RawMessage
		if err := documents.Decode(&raw); errors.Is(err, io.EOF) {
			return
		} else {
			exitOn(err)
		}
		object := &unstructured.Unstructured{}
		exitOn(object.UnmarshalJSON(raw))
		found, err := check(object)
		exitOn(err)
		exitOn(json.NewEncoder(os.Stdout).Encode(found))
	}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func kstatus(object *unstructured.Unstructured) (verdict, error) {
	found, err := status.Compute(object)
	if err != nil {
		return verdict{}, err
	}
	return verdict{found.Status.String(), found.Message}, nil
}

func argo(object *unstructured.Unstructured, script string) (verdict, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}} {
		call := lua.P{Fn: state.NewFunction(library.open), NRet: 0, Protect: true}
		if err := state.CallByParam(call, lua.LString(library.name)); err != nil {
			return verdict{}, err
		}
	}
	limit, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(limit)
	state.SetGlobal("obj", valueOf(state, object.Object))
	if err := state.DoString(script); err != nil {
		return verdict{}, err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return verdict{}, fmt.Errorf("a health check returns a table, and not %s", state.Get(-1).Type())
	}
	text, err := luajson.Encode(table)
	if err != nil {
		return verdict{}, err
	}
	var found verdict
	return found, json.Unmarshal(text, &found)
}

// valueOf is needed as luajson's own knows nothing of int64, which objects of Kubernetes have.
func valueOf(state *lua.LState, value any) lua.LValue {
	switch known := value.(type) {
	case int64:
		return lua.LNumber(known)
	case []any:
		list := state.CreateTable(len(known), 0)
		for _, each := range known {
			list.Append(valueOf(state, each))
		}
		return list
	case map[string]any:
		table := state.CreateTable(0, len(known))
		for name, each := range known {
			table.RawSetH(lua.LString(name), valueOf(state, each))
		}
		return table
	default:
		return luajson.DecodeValue(state, value)
	}
}
