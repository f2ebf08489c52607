// Applies objects and waits for them as Flux does: by the library that its kustomize-controller does both with, and
// the same options but for how often it looks and how long it waits.
//
// Arguments are a kubeconfig and either `apply` or a time to wait; standard input is one JSON document after the other,
// each an object of Kubernetes. For each a line of JSON is written: what the apply did to it (created, configured,
// unchanged), or the error that Flux would show, empty where the wait ended well.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/clusterreader"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/engine"
	"github.com/fluxcd/cli-utils/pkg/object"
	"github.com/fluxcd/pkg/ssa"
	"github.com/fluxcd/pkg/ssa/normalize"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

type verdict struct {
	Failure string `json:"failure"`
}

type change struct {
	Subject string `json:"subject"`
	Action  string `json:"action"`
}

func main() {
	manager := managerBy(os.Args[1])
	objects := read(os.Stdin)
	if os.Args[2] == "apply" {
		apply(manager, objects)
		return
	}
	timeout, err := time.ParseDuration(os.Args[2])
	exitOn(err)
	found := make([]verdict, len(objects))
	var waiting sync.WaitGroup
	for place, each := range objects {
		waiting.Go(func() { found[place] = wait(manager, each, timeout) })
	}
	waiting.Wait()
	for _, each := range found {
		exitOn(json.NewEncoder(os.Stdout).Encode(each))
	}
}

// apply takes back what was written by kubectl, as a Kustomization does with its defaults.
func apply(manager *ssa.ResourceManager, objects []*unstructured.Unstructured) {
	exitOn(normalize.UnstructuredList(objects))
	options := ssa.DefaultApplyOptions()
	options.Cleanup = ssa.ApplyCleanupOptions{
		Annotations: []string{corev1.LastAppliedConfigAnnotation},
		FieldManagers: []ssa.FieldManager{
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationApply},
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationUpdate},
			{Name: "before-first-apply", OperationType: metav1.ManagedFieldsOperationUpdate},
			{Name: "kustomize-controller", OperationType: metav1.ManagedFieldsOperationUpdate},
		},
	}
	changes, err := manager.ApplyAllStaged(context.Background(), objects, options)
	exitOn(err)
	for _, each := range changes.Entries {
		exitOn(json.NewEncoder(os.Stdout).Encode(change{each.Subject, string(each.Action)}))
	}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func managerBy(kubeconfig string) *ssa.ResourceManager {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	exitOn(err)
	transport, err := rest.HTTPClientFor(config)
	exitOn(err)
	mapper, err := apiutil.NewDynamicRESTMapper(config, transport)
	exitOn(err)
	reader, err := client.New(config, client.Options{HTTPClient: transport, Mapper: mapper})
	exitOn(err)
	// Without a cache, as its feature gate DisableStatusPollerCache is on unless somebody switches it off.
	direct := engine.ClusterReaderFactoryFunc(clusterreader.NewDirectClusterReader)
	poller := polling.NewStatusPoller(reader, mapper, polling.Options{ClusterReaderFactory: direct})
	return ssa.NewResourceManager(reader, poller, ssa.Owner{Field: "flux", Group: "kustomize.toolkit.fluxcd.io"})
}

func read(from io.Reader) []*unstructured.Unstructured {
	var found []*unstructured.Unstructured
	documents := json.NewDecoder(from)
	for {
		var raw json.RawMessage
		if err := documents.Decode(&raw); errors.Is(err, io.EOF) {
			return found
		} else {
			exitOn(err)
		}
		each := &unstructured.Unstructured{}
		exitOn(each.UnmarshalJSON(raw))
		found = append(found, each)
	}
}

func wait(manager *ssa.ResourceManager, each *unstructured.Unstructured, timeout time.Duration) verdict {
	set := object.UnstructuredSetToObjMetadataSet([]*unstructured.Unstructured{each})
	options := ssa.WaitOptions{Interval: time.Second, Timeout: timeout, FailFast: true}
	if err := manager.WaitForSetWithContext(context.Background(), set, options); err != nil {
		return verdict{err.Error()}
	}
	return verdict{}
}
