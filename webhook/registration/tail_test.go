package registration

import (
	"context"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
)

func object(name, version string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, UID: "u", ResourceVersion: version}}
}

// fakeTail reads ConfigMaps from version 10 on.
func fakeTail(objects ...runtime.Object) (*tail, *fake.FakeMetadataClient) {
	s := fake.NewTestScheme()
	if err := metav1.AddMetaToScheme(s); err != nil {
		panic(err)
	}
	client := fake.NewSimpleMetadataClient(s, objects...)
	c := &collector{run: &run{metadata: client}, opening: make(chan struct{}, 1), ended: make(chan struct{}), lacking: map[string][]string{}}
	return &tail{collector: c, gvr: schema.GroupVersionResource{Version: "v1", Resource: "configmaps"},
		gvk: schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, version: "10"}, client
}

func TestTailStopsBeyondTheEnd(t *testing.T) {
	tail, client := fakeTail()
	w := watch.NewFakeWithChanSize(4, false)
	client.PrependWatchReactor("*", clienttesting.DefaultWatchReactor(w, nil))
	w.Add(object("a", "11"))
	w.Delete(object("b", "12"))
	w.Action(watch.Bookmark, object("", "21"))
	tail.end = 20
	close(tail.ended)
	if done, err := tail.read(context.Background()); !done || err != nil {
		t.Errorf("done %v, %v", done, err)
	}
	if len(tail.writes) != 2 || tail.writes[1].Type != "DELETED" || tail.writes[1].Name != "b" || tail.version != "21" {
		t.Errorf("got %+v up to %s", tail.writes, tail.version)
	}
}

// Where the changes are gone, what exists stands in for them, and the lack is
// told.
func TestTailExpired(t *testing.T) {
	tail, client := fakeTail(object("before", "9"), object("after", "12"))
	w, tries := watch.NewFakeWithChanSize(1, false), 0
	w.Action(watch.Bookmark, object("", "21"))
	client.PrependWatchReactor("*", func(clienttesting.Action) (bool, watch.Interface, error) {
		if tries++; tries == 1 {
			return true, nil, apierrors.NewResourceExpired("too old resource version")
		}
		return true, w, nil
	})
	tail.end = 20
	close(tail.ended)
	tail.run(context.Background())
	if len(tail.writes) != 1 || tail.writes[0].Name != "after" || tries != 2 {
		t.Errorf("%d tries, %+v", tries, tail.writes)
	}
	for why, kinds := range tail.lacking {
		if !strings.Contains(why, "no longer to be had") || len(kinds) != 1 {
			t.Errorf("lacking %s: %v", why, kinds)
		}
	}
	if len(tail.lacking) != 1 {
		t.Errorf("lacking %v", tail.lacking)
	}
}

func TestMostWrites(t *testing.T) {
	c := &collector{}
	for range mostWrites + 3 {
		c.add(Write{})
	}
	if len(c.writes) != mostWrites || c.more != 3 {
		t.Errorf("%d writes and %d more", len(c.writes), c.more)
	}
}
