// A service on port 8080; `app health` asks it whether it answers, since an image from scratch has nothing else to ask with.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "--version":
		fmt.Println("app 1.0")
	case len(os.Args) > 1 && os.Args[1] == "health":
		answer, err := http.Get("http://127.0.0.1:8080/")
		if err != nil {
			log.Fatal(err)
		}
		if answer.StatusCode != http.StatusOK {
			log.Fatal(answer.Status)
		}
	default:
		http.HandleFunc("/", func(to http.ResponseWriter, _ *http.Request) { fmt.Fprintln(to, "hello") })
		fmt.Println("listening on 8080")
		log.Fatal(http.ListenAndServe(":8080", nil))
	}
}
