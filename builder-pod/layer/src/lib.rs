//! File trees and layer archives over Read and Write.
