/**
 * Imported before onnxruntime-node, and before a thread that loads it: ONNX Runtime 1.29 and later sends usage data to
 * its maker from Linux and macOS too, keeps files for it in the temporary folder and a database in a cache of its own,
 * and looks at this variable once, when its library is loaded. Nothing of ours may leave the machine unasked.
 * In a worker this sets the thread's own copy, which the library does not see: thread-start.ts imports it for that.
 */
process.env.ORT_DISABLE_TELEMETRY = '1'
