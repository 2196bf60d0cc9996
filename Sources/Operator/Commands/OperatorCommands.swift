// SPDX-License-Identifier: Apache-2.0

public import ArgumentParser

/// The commands of an operator, in the order in which help shows them.
public let operatorCommands: [any ParsableCommand.Type] = [
    ValidateCommand.self, BundleCommand.self, PlanCommand.self, ApplyCommand.self,
    StatusCommand.self,
    NodesCommand.self, PauseCommand.self, ResumeCommand.self, ApproveCommand.self,
    AbortCommand.self,
    RetryCommand.self, ResolveCommand.self, RollbackCommand.self, ReportCommand.self,
]
