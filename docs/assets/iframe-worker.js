// The site's search runs in a Worker, and browsers start none for a page that is opened as a file. There, this one runs
// the same script in a hidden frame. (Material for MkDocs would load such a script, iframe-worker, from a network.)
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.appendChild(frame)
      this.frame = frame.contentWindow
      window.addEventListener("message", event => {
        if (event.source !== this.frame) return
        const message = new MessageEvent("message", { data: event.data })
        this.dispatchEvent(message)
        if (this.onmessage) this.onmessage(message)
      })
      this.ready = new Promise(resolve => (this.frame.loaded = resolve))
      const page = this.frame.document
      page.open()
      page.write(`<html><body><script>
        function postMessage(data) { parent.dispatchEvent(new MessageEvent("message", { data: data, source: window })) }
        function importScripts(...urls) {
          return urls.reduce((before, url) => before.then(() => new Promise(resolve => {
            const script = document.createElement("script")
            script.src = url
            script.onload = resolve
            document.body.appendChild(script)
          })), Promise.resolve())
        }
      </` + `script><script src="${url}" onload="loaded()"></` + `script></body></html>`)
      page.close()
    }
    postMessage(data) {
      this.ready.then(() => this.frame.dispatchEvent(new MessageEvent("message", { data })))
    }
    terminate() {}
  }
  window.Worker = window.IFrameWorker
}
