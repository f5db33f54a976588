package webhook

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
)

// stranger opens a connection and sends what is given, which may be less than
// it announces.
func stranger(t *testing.T, s *httptest.Server, timeout string, length int, body string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := fmt.Fprintf(c, "POST /validate?timeout=%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", timeout, length, body); err != nil {
		t.Fatal(err)
	}
	return c
}

func answered(t *testing.T, resp *http.Response) *admissionv1.AdmissionResponse {
	t.Helper()
	defer resp.Body.Close()
	var r admissionv1.AdmissionReview
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil || r.Response == nil {
		t.Fatalf("no review: %v", err)
	}
	return r.Response
}

func answer(t *testing.T, c net.Conn, within time.Duration) *admissionv1.AdmissionResponse {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return answered(t, resp)
}

func honest(t *testing.T, s *httptest.Server) (*admissionv1.AdmissionResponse, time.Duration) {
	t.Helper()
	began := time.Now()
	resp, err := s.Client().Post(s.URL+"/validate?timeout=5s", "application/json", strings.NewReader(reviewOf("u", configMap("1", ""), "")))
	if err != nil {
		t.Fatal(err)
	}
	return answered(t, resp), time.Since(began)
}

// TestBodiesThatDoNotCome: who announces a body holds no room for what has not
// arrived of it, so that the API server is heard all the same.
func TestBodiesThatDoNotCome(t *testing.T) {
	for name, sent := range map[string]string{"headers alone": "", "one byte": "{", "a beginning": reviewOf("u", configMap("1", ""), "")[:300]} {
		t.Run(name, func(t *testing.T) {
			h := handler(t, nil)
			h.Budget = NewBudget(32 * step) // four small reviews' room, if they were paid for in advance
			s := httptest.NewServer(h)
			defer s.Close()
			for range 27 {
				stranger(t, s, "30s", MaxBody, sent)
			}
			time.Sleep(200 * time.Millisecond)
			if r, took := honest(t, s); !r.Allowed || took > time.Second {
				t.Errorf("after %v: %+v", took, r.Result)
			}
		})
	}
}

// TestBodiesThatStall: a body that stops, or drips, is answered soon, with its
// uid where it showed one; and what it held is given back.
func TestBodiesThatStall(t *testing.T) {
	h := handler(t, nil)
	h.Budget = NewBudget(32 * step)
	s := httptest.NewServer(h)
	defer s.Close()
	began := time.Now()
	stopped := stranger(t, s, "30s", 1<<20, reviewOf("u-stopped", configMap("1", ""), "")[:300])
	nearly := stranger(t, s, "30s", 301, reviewOf("u-nearly", configMap("1", ""), "")[:300])
	dripping := stranger(t, s, "30s", 1<<20, reviewOf("u-drips", configMap("1", ""), "")[:300])
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
				if _, err := dripping.Write([]byte(" ")); err != nil {
					return
				}
			}
		}
	}()
	for uid, c := range map[string]net.Conn{"u-stopped": stopped, "u-nearly": nearly, "u-drips": dripping} {
		if r := answer(t, c, 6*time.Second); r.Allowed || string(r.UID) != uid || r.Result.Code != http.StatusTooManyRequests {
			t.Errorf("%s: %+v", uid, r)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("answered after %v", took)
	}
	if !h.Budget.small.TryAcquire(4*step) || !h.Budget.large.TryAcquire(28*step) {
		t.Error("their room was not given back")
	}
}

// TestSlowButHonest: a large review that keeps coming is heard to its end,
// though it takes longer than any part of it may.
func TestSlowButHonest(t *testing.T) {
	s := httptest.NewServer(handler(t, nil))
	defer s.Close()
	body := reviewOf("u", configMap(strings.Repeat("x", 5*part), ""), "")
	c := stranger(t, s, "10s", len(body), "")
	for len(body) > 0 {
		n := min(len(body), part)
		if _, err := io.WriteString(c, body[:n]); err != nil {
			t.Fatal(err)
		}
		body = body[n:]
		time.Sleep(stall / 4)
	}
	if r := answer(t, c, 5*time.Second); r.Allowed || r.UID != "u" || r.Result.Code != http.StatusForbidden {
		t.Errorf("%+v", r)
	}
}

// slowGit looks at Git for longer than a part of a body may take.
type slowGit struct{ ended chan error }

func (g slowGit) Refresh(ctx context.Context, _ []string) error {
	select {
	case <-ctx.Done():
	case <-time.After(stall + time.Second/2):
	}
	g.ended <- ctx.Err()
	return nil
}

// TestSlowDecision: how fast a body has to come does not cut off the decision.
func TestSlowDecision(t *testing.T) {
	h := handler(t, nil)
	git := slowGit{make(chan error, 1)}
	h.Gate.Refresher = git
	s := httptest.NewServer(h)
	defer s.Close()
	body := reviewOf("u", configMap("9", ""), "")
	c := stranger(t, s, "10s", len(body), body)
	if r := answer(t, c, 8*time.Second); r.Allowed || r.UID != "u" || r.Result.Code != http.StatusForbidden {
		t.Errorf("%+v", r)
	}
	if err := <-git.ended; err != nil {
		t.Errorf("the decision was cut off: %v", err)
	}
}

// TestTooLargeOverAConnection: more than is read is a denial that the API server
// understands.
func TestTooLargeOverAConnection(t *testing.T) {
	h := handler(t, nil)
	s := httptest.NewServer(h)
	defer s.Close()
	body := reviewOf("u-big", configMap(strings.Repeat("x", MaxBody), ""), "")
	c := stranger(t, s, "10s", len(body), "")
	go func() { _, _ = io.WriteString(c, body) }()
	if r := answer(t, c, 10*time.Second); r.Allowed || r.UID != "u-big" || r.Result.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("%+v", r)
	}
	// And so is what finds no room.
	h.Budget = NewBudget(16 << 20)
	c = stranger(t, s, "1s", len(body), "")
	go func() { _, _ = io.WriteString(c, body) }()
	if r := answer(t, c, 10*time.Second); r.Allowed || r.UID != "u-big" || r.Result.Code != http.StatusTooManyRequests {
		t.Errorf("beyond the budget: %+v", r)
	}
}
