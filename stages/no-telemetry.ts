/**
 * Disables the telemetry of ONNX Runtime. From version 1.29 on ONNX Runtime sends usage data from Linux and macOS, too, and
 * keeps files in the temporary folder and a database in a cache. The library reads this variable once, when it is loaded, so
 * this file must be imported before onnxruntime-node. A worker sets its own copy of the environment, which the library does
 * not read. thread-start.ts therefore imports this file before it starts a thread.
 */
process.env.ORT_DISABLE_TELEMETRY = '1'
