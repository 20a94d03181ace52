// Command spillway is the custom handler that the Azure Functions host runs.
package main

func main() {}
