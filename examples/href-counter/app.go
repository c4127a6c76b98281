// Href-counter fetches the page that the environment variable url names and prints how many of its links stay on the
// page's own host and how many lead elsewhere.
package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"golang.org/x/net/html"
)

func main() {
	if err := run(os.Getenv("url"), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "href-counter:", err)
		os.Exit(1)
	}
}

func run(address string, output io.Writer) error {
	if address == "" {
		return errors.New("the environment variable url is not set")
	}
	client := http.Client{Timeout: 30 * time.Second}
	response, err := client.Get(address)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", address, response.Status)
	}
	// After redirects, the page is where the last request went.
	internal, external, err := count(response.Body, response.Request.URL)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(output, "{\"internal\": %d, \"external\": %d}\n", internal, external)
	return err
}

// count reads a page and sorts the targets of its <a> elements. Targets that are no pages (mailto:, javascript:) and those
// that cannot be understood are not counted.
func count(page io.Reader, base *url.URL) (internal, external int, err error) {
	tokens := html.NewTokenizer(page)
	for {
		switch tokens.Next() {
		case html.ErrorToken:
			if errors.Is(tokens.Err(), io.EOF) {
				return internal, external, nil
			}
			return 0, 0, tokens.Err()
		case html.StartTagToken, html.SelfClosingTagToken:
			target, ok := href(tokens.Token())
			if !ok {
				continue
			}
			reference, err := base.Parse(target)
			if err != nil || (reference.Scheme != "http" && reference.Scheme != "https") {
				continue
			}
			if reference.Host == base.Host {
				internal++
			} else {
				external++
			}
		}
	}
}

func href(token html.Token) (string, bool) {
	if token.Data != "a" {
		return "", false
	}
	for _, attribute := range token.Attr {
		if attribute.Key == "href" {
			return attribute.Val, true
		}
	}
	return "", false
}
