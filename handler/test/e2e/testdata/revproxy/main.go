// Command revproxy is the yardstick of the benchmarks: the standard library's
// reverse proxy, tuned, and nothing else.
package main

import (
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
)

// pooled lends 32 KiB buffers.
type pooled struct{ sync.Pool }

func (p *pooled) Get() []byte  { return *p.Pool.Get().(*[]byte) }
func (p *pooled) Put(b []byte) { p.Pool.Put(&b) }

func main() {
	backend, err := url.Parse(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	buffers := &pooled{}
	buffers.New = func() any { b := make([]byte, 32<<10); return &b }
	proxy := &httputil.ReverseProxy{
		Rewrite:    func(r *httputil.ProxyRequest) { r.SetURL(backend) },
		Transport:  &http.Transport{MaxIdleConnsPerHost: 2048, DisableCompression: true},
		BufferPool: buffers,
	}
	log.Fatal(http.ListenAndServe(os.Args[1], proxy)) //nolint:gosec // a yardstick on loopback
}
