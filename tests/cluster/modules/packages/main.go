// The package server of the test cluster: serves a directory of Debian packages and one of Go modules.
//
// A Dockerfile reaches the Debian packages through the predefined build argument http_proxy: a request for
// http://ANY-MIRROR/debian/... is answered from the directory, whatever the mirror's name, so that the sources.list of an
// image stays what it is. Nothing is ever forwarded: what the directories lack is a 404 that says so.
//
// Invariant: this program opens no connection to any other host.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to serve on")
	debian := flag.String("debian", "", "directory that mirrors the paths of the Debian mirror")
	modules := flag.String("modules", "", "directory in the layout of a Go module proxy, served below /go/")
	flag.Parse()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	server := &http.Server{
		Handler:           &supplies{debian: *debian, modules: *modules},
		ReadHeaderTimeout: 10 * time.Second,
	}
	log.Fatal(server.Serve(listener))
}

type supplies struct {
	debian, modules string
}

func (s *supplies) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	log.Printf("%s %s %s", request.RemoteAddr, request.Method, request.RequestURI)
	if request.Method != http.MethodGet && request.Method != http.MethodHead {
		http.Error(response, "the package server of the test cluster forwards nothing: "+request.Method+" is refused", http.StatusForbidden)
		return
	}
	name := path.Clean("/" + request.URL.Path)
	file := filepath.Join(s.debian, name)
	if rest, ok := strings.CutPrefix(name, "/go/"); ok {
		file = filepath.Join(s.modules, rest)
	}
	if name == "/healthz" {
		fmt.Fprintln(response, "ok")
		return
	}
	opened, err := os.Open(file)
	if err != nil {
		http.Error(response, name+" is not among the supplies of the test cluster", http.StatusNotFound)
		return
	}
	defer opened.Close()
	information, err := opened.Stat()
	if err != nil || !information.Mode().IsRegular() {
		http.Error(response, name+" is not a file of the supplies", http.StatusNotFound)
		return
	}
	http.ServeContent(response, request, name, information.ModTime(), opened)
}
