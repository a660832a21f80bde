// The Go peers: client-go's dynamic and typed informers, with its work queue and workers.
//
// usage: informer dynamic|typed url objects events workers mode
//
// The typed one decodes spec and status into structs as generated code does, and drops nothing: that is
// the informer which controller-runtime's cache is built on.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

var groupVersion = schema.GroupVersion{Group: "neo4j.neo4j.com", Version: "v1alpha1"}
var resource = groupVersion.WithResource("neo4jbackups")

type Cloud struct {
	Provider          string `json:"provider,omitempty"`
	Region            string `json:"region,omitempty"`
	CredentialsSecret string `json:"credentialsSecret,omitempty"`
}

type Target struct {
	Kind      string `json:"kind,omitempty"`
	Name      string `json:"name,omitempty"`
	Namespace string `json:"namespace,omitempty"`
}

type Storage struct {
	Type   string `json:"type,omitempty"`
	Bucket string `json:"bucket,omitempty"`
	Path   string `json:"path,omitempty"`
	Cloud  *Cloud `json:"cloud,omitempty"`
}

type Retention struct {
	MaxAge       string `json:"maxAge,omitempty"`
	MaxCount     int32  `json:"maxCount,omitempty"`
	DeletePolicy string `json:"deletePolicy,omitempty"`
}

type Options struct {
	BackupType string `json:"backupType,omitempty"`
	Compress   *bool  `json:"compress,omitempty"`
	Verify     *bool  `json:"verify,omitempty"`
}

type Spec struct {
	Target    Target     `json:"target"`
	Storage   Storage    `json:"storage"`
	Schedule  string     `json:"schedule,omitempty"`
	Retention *Retention `json:"retention,omitempty"`
	Options   *Options   `json:"options,omitempty"`
	Suspend   bool       `json:"suspend,omitempty"`
}

type Run struct {
	RunID     string       `json:"runID,omitempty"`
	StartTime *metav1.Time `json:"startTime,omitempty"`
	Status    string       `json:"status,omitempty"`
	Type      string       `json:"type,omitempty"`
}

type Status struct {
	Phase       string             `json:"phase,omitempty"`
	Message     string             `json:"message,omitempty"`
	LastRunTime *metav1.Time       `json:"lastRunTime,omitempty"`
	NextRunTime *metav1.Time       `json:"nextRunTime,omitempty"`
	Conditions  []metav1.Condition `json:"conditions,omitempty"`
	History     []Run              `json:"history,omitempty"`
}

type Neo4jBackup struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              Spec   `json:"spec"`
	Status            Status `json:"status,omitempty"`
}

type Neo4jBackupList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Neo4jBackup `json:"items"`
}

// Cached objects are only read here, so a copy is never asked for.
func (b *Neo4jBackup) DeepCopyObject() runtime.Object     { copied := *b; return &copied }
func (l *Neo4jBackupList) DeepCopyObject() runtime.Object { copied := *l; return &copied }

func say(stage string, facts map[string]any) {
	facts["stage"] = stage
	line, _ := json.Marshal(facts)
	fmt.Println(string(line))
}

func number(text string) int64 {
	value, err := strconv.ParseInt(text, 10, 64)
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type patcher func(ctx context.Context, namespace, name string, patch []byte) error

func dynamicPeer(config *rest.Config) (cache.SharedIndexInformer, patcher) {
	client, err := dynamic.NewForConfig(config)
	check(err)
	factory := dynamicinformer.NewDynamicSharedInformerFactory(client, 0)
	patch := func(ctx context.Context, namespace, name string, patch []byte) error {
		_, err := client.Resource(resource).Namespace(namespace).Patch(
			ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
		return err
	}
	return factory.ForResource(resource).Informer(), patch
}

func typedPeer(config *rest.Config) (cache.SharedIndexInformer, patcher) {
	scheme := runtime.NewScheme()
	scheme.AddKnownTypes(groupVersion, &Neo4jBackup{}, &Neo4jBackupList{})
	metav1.AddToGroupVersion(scheme, groupVersion)
	config.GroupVersion = &groupVersion
	config.APIPath = "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(config)
	check(err)
	codec := runtime.NewParameterCodec(scheme)
	source := &cache.ListWatch{
		ListFunc: func(options metav1.ListOptions) (runtime.Object, error) {
			list := &Neo4jBackupList{}
			err := client.Get().Resource(resource.Resource).VersionedParams(&options, codec).
				Do(context.Background()).Into(list)
			return list, err
		},
		WatchFunc: func(options metav1.ListOptions) (watch.Interface, error) {
			options.Watch = true
			return client.Get().Resource(resource.Resource).VersionedParams(&options, codec).
				Watch(context.Background())
		},
	}
	patch := func(ctx context.Context, namespace, name string, patch []byte) error {
		return client.Patch(types.MergePatchType).Namespace(namespace).Resource(resource.Resource).
			Name(name).SubResource("status").Body(patch).Do(ctx).Into(&Neo4jBackup{})
	}
	indexers := cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}
	return cache.NewSharedIndexInformer(source, &Neo4jBackup{}, 0, indexers), patch
}

func phaseAndVersion(item any) (string, string) {
	if backup, ok := item.(*Neo4jBackup); ok {
		return backup.Status.Phase, backup.ResourceVersion
	}
	object := item.(*unstructured.Unstructured)
	phase, _, _ := unstructured.NestedString(object.Object, "status", "phase")
	return phase, object.GetResourceVersion()
}

func main() {
	config := &rest.Config{Host: os.Args[2], QPS: -1}
	objects, events, workers := number(os.Args[3]), number(os.Args[4]), number(os.Args[5])
	var informer cache.SharedIndexInformer
	var patch patcher
	if os.Args[1] == "dynamic" {
		informer, patch = dynamicPeer(config)
	} else {
		informer, patch = typedPeer(config)
	}
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	var added, seen, echoes, calls atomic.Int64
	enqueue := func(item any) {
		key, err := cache.MetaNamespaceKeyFunc(item)
		check(err)
		queue.Add(key)
	}
	cached := func() int { return len(informer.GetStore().ListKeys()) }
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(item any) {
			enqueue(item)
			if added.Add(1) == objects {
				say("synced", map[string]any{"cached": cached(), "queued": queue.Len()})
			}
		},
		UpdateFunc: func(old, item any) {
			before, _ := meta.Accessor(old)
			after, _ := meta.Accessor(item)
			if before.GetGeneration() != after.GetGeneration() {
				enqueue(item)
			} else if echoes.Add(1) == objects {
				say("reconciled", map[string]any{})
			}
			if seen.Add(1) == events {
				say("watched", map[string]any{"events": events, "cached": cached(), "queued": queue.Len()})
			}
		},
	})
	check(err)
	go informer.Run(context.Background().Done())
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		switch input.Text() {
		case "reconcile":
			for range workers {
				go work(informer.GetStore(), queue, patch, &calls)
			}
		case "settle":
			say("settled", map[string]any{"calls": calls.Load()})
		case "again":
			for _, key := range informer.GetStore().ListKeys() {
				queue.Add(key)
			}
			for calls.Load() < 2*objects {
				time.Sleep(time.Millisecond)
			}
			say("unchanged", map[string]any{"calls": calls.Load()})
		}
	}
}

func work(store cache.Store, queue workqueue.TypedRateLimitingInterface[string], patch patcher, calls *atomic.Int64) {
	for {
		key, ended := queue.Get()
		if ended {
			return
		}
		calls.Add(1)
		item, found, err := store.GetByKey(key)
		check(err)
		if phase, version := phaseAndVersion(item); found && phase != "Completed" {
			namespace, name, _ := cache.SplitMetaNamespaceKey(key)
			body := fmt.Sprintf(`{"metadata":{"resourceVersion":%q},"status":{"phase":"Completed"}}`, version)
			check(patch(context.Background(), namespace, name, []byte(body)))
		}
		queue.Forget(key)
		queue.Done(key)
	}
}
